//! Keeping how the rows of a sweep ended: in objects of up to a thousand rows each, compressed.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::{Api, ResourceExt as _, api::PostParams};
use spore_crds::{
    RowResult, SWEEP_LABEL, SporeResults, SporeResultsSpec, results::ROWS_PER_OBJECT,
};

use super::{Collection, Groups};
use crate::reconcile::Error;

impl Groups {
    /// Keeps how rows ended. Keeping the same twice is harmless.
    ///
    /// # Errors
    /// If Kubernetes refuses; the rows are then told again in the next pass.
    pub(super) async fn keep<K: Collection>(
        &self,
        object: &K,
        results: Vec<RowResult>,
    ) -> Result<(), Error> {
        let mut chunks = BTreeMap::<u32, Vec<RowResult>>::new();
        for row in results {
            let first = row.index / ROWS_PER_OBJECT * ROWS_PER_OBJECT;
            chunks.entry(first).or_default().push(row);
        }
        let namespace = object.namespace().unwrap_or_default();
        let api = Api::<SporeResults>::namespaced(self.context.client.clone(), &namespace);
        for (first, rows) in chunks {
            put(&api, object, first, rows).await?;
        }
        Ok(())
    }
}

async fn put<K: Collection>(
    api: &Api<SporeResults>,
    object: &K,
    first: u32,
    rows: Vec<RowResult>,
) -> Result<(), Error> {
    let name = format!("{}-results-{}", object.name_any(), first / ROWS_PER_OBJECT);
    let stored = api.get_opt(&name).await?;
    let owned = stored.as_ref().is_some_and(|stored| {
        stored
            .owner_references()
            .iter()
            .any(|owner| Some(&owner.uid) == object.uid().as_ref())
    });
    let before = stored
        .as_ref()
        .filter(|_| owned)
        .map(|stored| read(&stored.spec.data));
    let mut all = before
        .unwrap_or_default()
        .into_iter()
        .map(|row| (row.index, row))
        .collect::<BTreeMap<_, _>>();
    all.extend(rows.into_iter().map(|row| (row.index, row)));
    let spec = SporeResultsSpec {
        sweep: object.name_any(),
        first,
        count: u32::try_from(all.len()).unwrap_or(u32::MAX),
        data: write(all.values()),
    };
    match stored {
        Some(mut stored) => {
            stored.spec = spec;
            stored.metadata.owner_references = Some(vec![owner(object)]);
            api.replace(&name, &PostParams::default(), &stored).await?;
        }
        None => {
            let label = Some(object.name_any()).filter(|name| name.len() <= 63);
            let made = SporeResults {
                metadata: ObjectMeta {
                    name: Some(name),
                    namespace: object.namespace(),
                    labels: label.map(|name| [(SWEEP_LABEL.to_owned(), name)].into()),
                    owner_references: Some(vec![owner(object)]),
                    ..ObjectMeta::default()
                },
                spec,
            };
            api.create(&PostParams::default(), &made).await?;
        }
    }
    Ok(())
}

fn owner<K: Collection>(object: &K) -> OwnerReference {
    OwnerReference {
        api_version: "spore.host/v1alpha1".into(),
        kind: K::KIND.to_string(),
        name: object.name_any(),
        uid: object.uid().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(false),
    }
}

/// One JSON object a line, compressed, in base64.
fn write<'a>(rows: impl Iterator<Item = &'a RowResult>) -> String {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    for row in rows {
        let line = serde_json::to_string(row).expect("a row has only string keys");
        encoder
            .write_all(line.as_bytes())
            .and_then(|()| encoder.write_all(b"\n"))
            .expect("writing to memory cannot fail");
    }
    STANDARD.encode(encoder.finish().expect("writing to memory cannot fail"))
}

/// Reads rows back; a line that cannot be read is left out rather than keeping the sweep from going
/// on.
fn read(data: &str) -> Vec<RowResult> {
    let bytes = STANDARD.decode(data).unwrap_or_default();
    let mut text = String::new();
    if GzDecoder::new(bytes.as_slice())
        .read_to_string(&mut text)
        .is_err()
    {
        tracing::warn!("results that were kept cannot be read");
    }
    let lines = text.lines();
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u32) -> RowResult {
        RowResult {
            index,
            name: None,
            attempts: 1,
            succeeded: index.is_multiple_of(2),
            reason: "Succeeded".into(),
            exit_code: Some(0),
            message: Some(format!("loss={index}")),
            instance_id: Some(format!("i-{index:017x}")),
            started_at: "2026-11-21T10:00:00Z".parse().ok(),
            finished_at: "2026-11-21T10:10:00Z".parse().ok(),
            location: None,
            cost: None,
        }
    }

    #[test]
    fn a_thousand_rows_read_back_and_stay_far_below_what_an_object_may_hold() {
        let rows = (0..ROWS_PER_OBJECT).map(row).collect::<Vec<_>>();
        let data = write(rows.iter());
        assert!(data.len() < 64 * 1024, "{}", data.len());
        assert_eq!(read(&data), rows);
    }
}

//! How the rows of a sweep ended, as the objects tell that outlive their members.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flate2::read::GzDecoder;
use kube::{Api, ResourceExt as _, api::ListParams};
use spore_crds::{RowResult, SporeResults};
use spore_world::World;

/// The results of a sweep, by row.
///
/// # Panics
/// If what is kept cannot be read.
pub async fn results(world: &World, sweep: &str) -> BTreeMap<u32, RowResult> {
    let api = Api::<SporeResults>::namespaced(world.client(), world.namespace());
    let list = api.list(&ListParams::default()).await;
    let mut all = BTreeMap::new();
    for object in list.expect("the API server answers") {
        if object.spec.sweep != sweep {
            continue;
        }
        let rows = read(&object.spec.data).expect("results that can be read");
        assert_eq!(
            object.spec.count as usize,
            rows.len(),
            "{}",
            object.name_any()
        );
        all.extend(rows.into_iter().map(|row| (row.index, row)));
    }
    all
}

fn read(data: &str) -> Result<Vec<RowResult>> {
    let bytes = STANDARD.decode(data)?;
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
    let rows = text.lines().map(serde_json::from_str);
    Ok(rows.collect::<Result<_, _>>()?)
}

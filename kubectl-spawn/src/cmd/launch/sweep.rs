//! `kubectl spawn launch --param-file`.

use std::{
    fs,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    path::Path,
};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};
use spore_crds::{
    RowFormat, SporeSweepSpec,
    rows::{RowErrors, RowFile, Rows},
};

use super::{LaunchArgs, args::DryRun, check_wait, finish, post, print_draft};
use crate::{
    cli::{Format, Global},
    client::{Cluster, MANAGER},
    error::Error,
    kind::Kind,
    manifest, print,
};

/// What RBAC rules call a ConfigMap.
const CONFIG_MAPS: &str = "configmaps";
/// How many bytes of rows are written into the sweep itself. It is stored anew with every change of
/// its status, so that large rows are better kept beside it.
const INLINE: usize = 256 * 1024;
/// How many bytes a ConfigMap holds (Kubernetes documentation, ConfigMaps).
const CONFIG_MAP: usize = 1024 * 1024;
/// How many members are active at once if nothing is said and there are more rows.
const AT_ONCE: u32 = 10;
/// The longest part of a name that comes from the file's.
const STEM: usize = 40;

/// What is to be created.
#[derive(Debug)]
struct Draft {
    sweep: Value,
    /// Its rows, if they are not in itself.
    rows: Option<Value>,
}

/// Launches a sweep.
pub(super) async fn run(args: &LaunchArgs, file: &Path, global: &Global) -> Result<(), Error> {
    check_wait(args.wait_for())?;
    let text = fs::read_to_string(file).map_err(|error| Error::Usage {
        what: format!("cannot read {}: {error}", file.display()),
        advice: "--param-file names a file with rows in JSON, YAML or CSV.".into(),
    })?;
    let name = match args.name() {
        Some(name) => name.to_owned(),
        None => format!("{}-{}", stem(file), suffix()),
    };
    let mut draft = draft(args, file, &text, &name)?;
    if args.dry_run == DryRun::Client {
        return show(args, draft, global.namespace.as_deref());
    }
    let cluster = Cluster::connect(global).await?;
    draft.place(&cluster.namespace);
    let Some(rows) = draft.rows else {
        let created = cluster
            .create(Kind::Sweep, &draft.sweep, &post(args))
            .await?;
        return finish(&cluster, created, args).await;
    };
    let maps = Api::<ConfigMap>::namespaced(cluster.client.clone(), &cluster.namespace);
    // First the rows, so that the controller finds them; without a sweep they are taken back.
    let rows = serde_json::from_value::<ConfigMap>(rows).map_err(|error| Error::Unreadable {
        what: "the ConfigMap to create".into(),
        detail: error.to_string(),
    })?;
    let rows = cluster
        .ask("create", CONFIG_MAPS, maps.create(&post(args), &rows))
        .await?;
    let created = match cluster.create(Kind::Sweep, &draft.sweep, &post(args)).await {
        Ok(created) => created,
        Err(error) => {
            if args.dry_run == DryRun::None {
                // The first error is the one to tell; what is left over costs nothing.
                let _ = maps
                    .delete(&rows.name_any(), &DeleteParams::default())
                    .await;
            }
            return Err(error);
        }
    };
    if args.dry_run == DryRun::None {
        own(&cluster, &maps, &rows.name_any(), &created).await?;
    }
    finish(&cluster, created, args).await
}

/// Has the ConfigMap go when the sweep goes.
async fn own(
    cluster: &Cluster,
    maps: &Api<ConfigMap>,
    name: &str,
    sweep: &DynamicObject,
) -> Result<(), Error> {
    let owner = json!({"metadata": {"ownerReferences": [{
        "apiVersion": Kind::Sweep.api().api_version,
        "kind": Kind::Sweep.word(),
        "name": sweep.name_any(),
        "uid": sweep.uid(),
    }]}});
    let params = PatchParams {
        field_manager: Some(MANAGER.into()),
        ..PatchParams::default()
    };
    let patch = Patch::Merge(&owner);
    cluster
        .ask("patch", CONFIG_MAPS, maps.patch(name, &params, &patch))
        .await
        .map(|_| ())
}

impl Draft {
    fn place(&mut self, namespace: &str) {
        for object in [Some(&mut self.sweep), self.rows.as_mut()]
            .into_iter()
            .flatten()
        {
            object["metadata"]["namespace"] = json!(namespace);
        }
    }
}

fn show(args: &LaunchArgs, mut draft: Draft, namespace: Option<&str>) -> Result<(), Error> {
    if let Some(namespace) = namespace {
        draft.place(namespace);
    }
    match (args.output, draft.rows) {
        (Some(format @ (Format::Json | Format::Yaml)), Some(rows)) => {
            let list = json!({"apiVersion": "v1", "kind": "List", "items": [rows, draft.sweep]});
            print::out(&match format {
                Format::Yaml => print::yaml(&list),
                Format::Json | Format::Name => print::json(&list),
            })
        }
        (_, _) => print_draft(Kind::Sweep, &draft.sweep, args),
    }
}

/// The sweep that flags and file say, with every row checked.
fn draft(args: &LaunchArgs, file: &Path, text: &str, name: &str) -> Result<Draft, Error> {
    let wrong = |detail: String| Error::Usage {
        what: format!("{}: {detail}", file.display()),
        advice: "Nothing was created: put that right and launch again.".into(),
    };
    let format = RowFormat::of_name(&file.to_string_lossy()).ok_or_else(|| Error::Usage {
        what: format!(
            "{} does not tell by its name how its rows are written",
            file.display()
        ),
        advice: "Name it .json, .yaml, .yml or .csv.".into(),
    })?;
    let mut spec = json!({});
    let template = manifest::template(args)?;
    if template
        .as_object()
        .is_some_and(|fields| !fields.is_empty())
    {
        spec["template"] = template;
    }
    if let Some(most) = args.sweep.max_concurrent_per_region {
        spec["parallelismPerRegion"] = json!(most);
    }
    if let Some(pause) = args.sweep.launch_delay {
        spec["launchInterval"] = json!(pause);
    }
    let typed = serde_json::from_value::<SporeSweepSpec>(spec.clone());
    let typed = typed.map_err(|error| wrong(error.to_string()))?;
    let rows = Rows::new(&typed, Some((text, format))).map_err(|error| wrong(error.to_string()))?;
    rows.check().map_err(|errors| wrong(lines(&errors)))?;
    let all = rows.len();
    spec["parallelism"] = json!(match args.sweep.max_concurrent {
        None => all.min(AT_ONCE),
        Some(0) => all,
        Some(most) => most,
    });
    let object = |spec| manifest::object(Kind::Sweep, Some(name), None, spec);

    let read = RowFile::read(text, format).map_err(|error| wrong(error.to_string()))?;
    let parts = parts(&read);
    let packed = parts.to_string();
    if packed.len() <= INLINE {
        if let (Value::Object(spec), Value::Object(parts)) = (&mut spec, parts) {
            spec.extend(parts);
        }
        return Ok(Draft {
            sweep: object(spec),
            rows: None,
        });
    }
    // As it was written, if that fits; else without what is only there for people.
    let (key, text) = match (format, text.len()) {
        (RowFormat::CSV, 0..=CONFIG_MAP) => ("rows.csv", text.to_owned()),
        (RowFormat::JSON, 0..=CONFIG_MAP) => ("rows.json", text.to_owned()),
        (RowFormat::YAML, 0..=CONFIG_MAP) => ("rows.yaml", text.to_owned()),
        _ if packed.len() <= CONFIG_MAP => ("rows.json", packed),
        _ => return Err(too_large(file, text.len().min(packed.len()))),
    };
    let map = format!("{name}-rows");
    spec["paramsFrom"] = json!({"configMap": map, "key": key});
    Ok(Draft {
        sweep: object(spec),
        rows: Some(json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": map},
            "data": {key: text},
        })),
    })
}

/// What the file says, as it goes into the spec.
fn parts(file: &RowFile) -> Value {
    let RowFile {
        defaults,
        params,
        grid,
        lines: _,
    } = file;
    let mut parts = json!({});
    if !defaults.is_empty() {
        parts["defaults"] = json!(defaults);
    }
    if !params.is_empty() {
        parts["params"] = json!(params);
    }
    if !grid.is_empty() {
        parts["grid"] = json!(grid);
    }
    parts
}

/// One line for each row that is wrong.
fn lines(errors: &RowErrors) -> String {
    let mut text = match errors.errors.as_slice() {
        [only] => only.to_string(),
        many => many.iter().map(|error| format!("\n  {error}")).collect(),
    };
    if errors.more {
        text.push_str("\n  and there may be more");
    }
    text
}

fn too_large(file: &Path, bytes: usize) -> Error {
    Error::Usage {
        what: format!(
            "{} has {} KiB of rows, and Kubernetes stores {} KiB at most",
            file.display(),
            bytes / 1024,
            CONFIG_MAP / 1024
        ),
        advice: "Write combinations as grid, put what rows share into defaults, use CSV, or split the file into several sweeps.".into(),
    }
}

/// A name from that of a file.
fn stem(file: &Path) -> String {
    let stem = file
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .to_lowercase();
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let name = stem.replace(|c: char| !allowed(c), "-");
    let name = name.trim_matches('-');
    let cut = name.get(..STEM).unwrap_or(name).trim_end_matches('-');
    if cut.is_empty() {
        "sweep".into()
    } else {
        cut.into()
    }
}

/// Five letters and digits that no other launch has.
fn suffix() -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    // The standard library's hash keys come from the operating system's random numbers.
    let mut random = RandomState::new().build_hasher().finish();
    let mut next = || {
        let letter = LETTERS[usize::try_from(random % 32).unwrap_or_default()];
        random /= 32;
        char::from(letter)
    };
    (0..5).map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cmd::launch::args::tests::parse, error::Exit};

    const SEED: &str = r#"{
        "defaults": {"instance_type": "t3.micro", "region": "us-east-1", "ttl": "2h"},
        "params": [
            {"name": "model-alpha-0.1", "alpha": 0.1},
            {"name": "model-alpha-0.2", "alpha": 0.2},
            {"name": "model-alpha-0.3", "alpha": 0.3}
        ]
    }"#;

    fn drafted(flags: &str, file: &str, text: &str) -> Result<Draft, Error> {
        let line = format!("--param-file {file} {flags}");
        let args = parse(&line.split_whitespace().collect::<Vec<_>>()).unwrap();
        draft(&args, Path::new(file), text, "sweep-abc12")
    }

    #[test]
    fn a_file_goes_into_the_sweep_as_it_is_and_flags_into_its_template() {
        let flags = "--max-concurrent 2 --detach --launch-delay 10s --instance-type t3.small --max-concurrent-per-region 1";
        let draft = drafted(flags, "sweep.json", SEED).unwrap();
        insta::assert_snapshot!(print::yaml(&draft.sweep), @"
        apiVersion: spore.host/v1alpha1
        kind: SporeSweep
        metadata:
          name: sweep-abc12
        spec:
          defaults:
            instance_type: t3.micro
            region: us-east-1
            ttl: 2h
          launchInterval: 10s
          parallelism: 2
          parallelismPerRegion: 1
          params:
          - alpha: 0.1
            name: model-alpha-0.1
          - alpha: 0.2
            name: model-alpha-0.2
          - alpha: 0.3
            name: model-alpha-0.3
          template:
            instanceType: t3.small
        ");
        assert!(draft.rows.is_none());
    }

    #[test]
    fn without_a_number_as_many_are_active_as_there_are_rows_up_to_ten() {
        let at_once = |flags: &str, rows: usize| {
            let text = format!("alpha\n{}", "1\n".repeat(rows));
            let draft = drafted(&format!("--instance-type t3.micro {flags}"), "a.csv", &text);
            draft.unwrap().sweep["spec"]["parallelism"].clone()
        };
        assert_eq!(at_once("", 3), 3);
        assert_eq!(at_once("", 30), 10);
        assert_eq!(at_once("--max-concurrent 20", 30), 20);
        assert_eq!(at_once("--max-concurrent 0", 30), 30);
    }

    #[test]
    fn rows_that_the_sweep_should_not_carry_go_into_a_config_map() {
        let rows = |bytes: usize| {
            let row = "1234567890123456789\n";
            format!("text\n{}", row.repeat(bytes / row.len()))
        };
        let kept = drafted("--instance-type t3.micro", "a.csv", &rows(500_000)).unwrap();
        assert_eq!(
            kept.sweep["spec"]["paramsFrom"],
            json!({"configMap": "sweep-abc12-rows", "key": "rows.csv"})
        );
        assert!(kept.sweep["spec"].get("params").is_none());
        let map = kept.rows.unwrap();
        assert_eq!(map["metadata"]["name"], "sweep-abc12-rows");
        assert_eq!(map["data"]["rows.csv"], rows(500_000));
        let error = drafted("--instance-type t3.micro", "a.csv", &rows(2_000_000)).unwrap_err();
        assert_eq!(error.exit(), Exit::Usage);
        assert!(error.to_string().contains("1024 KiB at most"), "{error}");
    }

    #[test]
    fn every_row_is_checked_before_anything_is_created() {
        let text = "instance_type,ttl\nt3.micro,1h\nt3micro,soon\n";
        let error = drafted("", "a.csv", text).unwrap_err();
        let said = error.to_string();
        assert!(
            said.starts_with("a.csv: ") && said.contains("row 1"),
            "{said}"
        );
        for (file, text) in [
            ("a.txt", "x"),
            ("a.json", "{"),
            ("a.json", "[]"),
            ("a.json", "[{}]"),
        ] {
            let error = drafted("", file, text).unwrap_err();
            assert_eq!(error.exit(), Exit::Usage, "{file} {text}: {error}");
        }
    }

    #[test]
    fn the_name_of_the_file_becomes_that_of_the_sweep() {
        assert_eq!(stem(Path::new("/x/Hyper_Param.v2.json")), "hyper-param-v2");
        assert_eq!(stem(Path::new("__.csv")), "sweep");
        assert_eq!(
            stem(Path::new(&format!("{}.csv", "a".repeat(300)))).len(),
            STEM
        );
        let name = format!("{}-{}", stem(Path::new("a.json")), suffix());
        assert_eq!(crate::check::name(&name), Ok(name.clone()));
        assert_ne!(suffix(), suffix());
    }
}

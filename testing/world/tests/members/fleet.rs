//! EC2's stand-in with machines, and a client of it.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ec2::{
    config::Credentials,
    types::{
        IamInstanceProfileSpecification, Instance as Launched, InstanceMetadataOptionsRequest,
        InstanceMetadataTagsState, InstanceType, Tag,
    },
};
use serde_json::Value;
use spore_controller::user_data::{self, Agent};
use spore_core::{agent_config::AgentConfig, tags::Tags};
use spore_world::{
    Sim, eventually, layout,
    process::Life,
    sim::{ACCESS_KEY, Instance},
};

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(90);
/// The profile, and its role, with which instances act on themselves.
const PROFILE: &str = "members";
/// Who may take the role.
const TRUST: &str = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}]}"#;

/// EC2 for one test.
pub(crate) struct Fleet {
    pub(crate) sim: Sim,
    ec2: aws_sdk_ec2::Client,
    agent_sha256: String,
    _dir: tempfile::TempDir,
}

impl Fleet {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    pub(crate) async fn start_with(name: &str, args: &[&str]) -> Self {
        let dir = tempfile::Builder::new()
            .prefix(&format!("members-{name}-"))
            .tempdir()
            .unwrap();
        let artifacts = dir.path().join("artifacts");
        let agent_sha256 = layout::publish_agent(&artifacts).unwrap();
        let mut all = Sim::machines(dir.path());
        all.extend(args.iter().map(|&arg| arg.to_owned()));
        let sim = Sim::start(dir.path(), &artifacts, Life::WithUs, &all)
            .await
            .unwrap();
        let config = aws_config::defaults(BehaviorVersion::latest())
            .endpoint_url(sim.endpoint())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new(
                ACCESS_KEY,
                "not-a-secret",
                None,
                None,
                "test",
            ))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .load()
            .await;
        allow_instances_to_report(&aws_sdk_iam::Client::new(&config)).await;
        Self {
            sim,
            ec2: aws_sdk_ec2::Client::new(&config),
            agent_sha256,
            _dir: dir,
        }
    }

    /// Launches so many in one call; their ids in the order of the launch index.
    pub(crate) async fn launch(&self, count: i32, config: &AgentConfig) -> Vec<String> {
        let url = format!("{}/_artifacts/spored-linux-x86_64", self.sim.endpoint());
        let agent = Agent {
            url: &url,
            sha256: &self.agent_sha256,
        };
        let metadata = InstanceMetadataOptionsRequest::builder()
            .instance_metadata_tags(InstanceMetadataTagsState::Enabled)
            .build();
        let images = self.ec2.describe_images().owners("amazon").send().await;
        let images = images.unwrap();
        let image = images
            .images()
            .iter()
            .find(|image| image.architecture().is_some_and(|a| a.as_str() == "x86_64"));
        let mut launched = self
            .ec2
            .run_instances()
            .image_id(image.unwrap().image_id().unwrap())
            .instance_type(InstanceType::T3Micro)
            .min_count(count)
            .max_count(count)
            .user_data(user_data::encode(config, &agent).unwrap().base64)
            .metadata_options(metadata)
            .iam_instance_profile(
                IamInstanceProfileSpecification::builder()
                    .name(PROFILE)
                    .build(),
            )
            .send()
            .await
            .unwrap()
            .instances
            .unwrap();
        launched.sort_by_key(Launched::ami_launch_index);
        launched
            .into_iter()
            .map(|instance| instance.instance_id.unwrap())
            .collect()
    }

    /// Gives these tags to all of these instances in one call.
    pub(crate) async fn tag(&self, ids: &[String], tags: &Tags) {
        let tag = |(key, value): (&String, &String)| Tag::builder().key(key).value(value).build();
        self.ec2
            .create_tags()
            .set_resources(Some(ids.to_vec()))
            .set_tags(Some(tags.iter().map(tag).collect()))
            .send()
            .await
            .unwrap();
    }

    /// Stops an instance, does this to its disk, and starts it again.
    pub(crate) async fn stop_and_start(&self, id: &str, meanwhile: impl AsyncFnOnce(&str)) {
        let stop = self.ec2.stop_instances().instance_ids(id);
        stop.send().await.unwrap();
        self.until(id, "it is stopped", |instance| instance.state == "stopped")
            .await;
        meanwhile(id).await;
        let start = self.ec2.start_instances().instance_ids(id);
        start.send().await.unwrap();
    }

    /// Waits until an instance is as wanted.
    pub(crate) async fn until(
        &self,
        id: &str,
        what: &str,
        wanted: impl Fn(&Instance) -> bool,
    ) -> Instance {
        eventually(&format!("{id}: {what}"), PATIENCE, async || {
            let all = self.sim.instances().await.ok()?;
            all.into_iter()
                .find(|instance| instance.id == id && wanted(instance))
        })
        .await
    }

    /// A path on an instance as this process finds it.
    pub(crate) async fn path(&self, id: &str, inside: &str) -> PathBuf {
        let instance = self
            .until(id, "it has a machine", |instance| {
                instance.machine_dir.is_some()
            })
            .await;
        let root = instance.machine_dir.unwrap().join("root");
        root.join(Path::new(inside).strip_prefix("/").unwrap())
    }

    /// Waits for a file on an instance, and reads it.
    pub(crate) async fn file(&self, id: &str, inside: &str) -> String {
        self.file_with(id, inside, "").await
    }

    /// Waits until a file on an instance holds this text, and reads it.
    pub(crate) async fn file_with(&self, id: &str, inside: &str, text: &str) -> String {
        let path = self.path(id, inside).await;
        let what = format!("{} holds {text:?}", path.display());
        eventually(&what, PATIENCE, async || {
            let read = fs::read_to_string(&path).ok()?;
            read.contains(text).then_some(read)
        })
        .await
    }

    pub(crate) async fn json(&self, id: &str, inside: &str) -> Value {
        serde_json::from_str(&self.file(id, inside).await).unwrap()
    }
}

async fn allow_instances_to_report(iam: &aws_sdk_iam::Client) {
    let role = iam.create_role().role_name(PROFILE);
    role.assume_role_policy_document(TRUST)
        .send()
        .await
        .unwrap();
    let profile = iam.create_instance_profile();
    profile.instance_profile_name(PROFILE).send().await.unwrap();
    iam.add_role_to_instance_profile()
        .instance_profile_name(PROFILE)
        .role_name(PROFILE)
        .send()
        .await
        .unwrap();
}

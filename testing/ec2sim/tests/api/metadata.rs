use serde_json::{Value, json};

use super::client::{Reply, Sim};

struct Metadata<'a> {
    sim: &'a Sim,
    id: String,
    token: String,
}

impl<'a> Metadata<'a> {
    async fn open(sim: &'a Sim, id: &str) -> Self {
        sim.until(id, "running").await;
        let reply = put_token(sim, id, "60").await;
        assert_eq!(reply.status, 200);
        Self {
            sim,
            id: id.to_owned(),
            token: reply.text(),
        }
    }

    async fn get(&self, path: &str) -> Reply {
        let path = format!("/_imds/{}/latest/{path}", self.id);
        let token = [("X-aws-ec2-metadata-token", self.token.as_str())];
        self.sim
            .http("GET", &path, &token, b"")
            .await
            .expect("a reply")
    }

    async fn read(&self, path: &str) -> String {
        let reply = self.get(path).await;
        assert_eq!(reply.status, 200, "{path}");
        reply.text()
    }
}

async fn put_token(sim: &Sim, id: &str, ttl: &str) -> Reply {
    let path = format!("/_imds/{id}/latest/api/token");
    let ttl = [("X-aws-ec2-metadata-token-ttl-seconds", ttl)];
    sim.http("PUT", &path, &ttl, b"").await.expect("a reply")
}

#[tokio::test]
async fn a_session_is_required_and_its_life_is_limited() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let metadata = Metadata::open(&sim, &id).await;
    assert_eq!(metadata.read("meta-data/instance-id").await, id);
    let path = format!("/_imds/{id}/latest/meta-data/instance-id");
    assert_eq!(
        sim.http("GET", &path, &[], b"")
            .await
            .expect("a reply")
            .status,
        401
    );
    let stranger = [("X-aws-ec2-metadata-token", "made-up")];
    assert_eq!(
        sim.http("GET", &path, &stranger, b"")
            .await
            .expect("a reply")
            .status,
        401
    );
    for ttl in ["0", "21601", "soon"] {
        assert_eq!(put_token(&sim, &id, ttl).await.status, 400, "{ttl}");
    }
}

#[tokio::test]
async fn without_required_tokens_a_plain_get_works() {
    let sim = Sim::start().await;
    let id = sim
        .run(1, &[("MetadataOptions.HttpTokens", "optional")])
        .await
        .remove(0);
    sim.until(&id, "running").await;
    let path = format!("/_imds/{id}/latest/meta-data/instance-id");
    let reply = sim.http("GET", &path, &[], b"").await.expect("a reply");
    assert_eq!((reply.status, reply.text()), (200, id));
}

#[tokio::test]
async fn an_instance_reads_who_and_where_it_is() {
    let sim = Sim::start().await;
    let user_data = [("UserData", "IyEvYmluL3NoCg==")];
    let id = sim.run(2, &user_data).await.remove(1);
    let metadata = Metadata::open(&sim, &id).await;
    assert_eq!(metadata.read("meta-data/ami-launch-index").await, "1");
    assert_eq!(
        metadata.read("meta-data/placement/region").await,
        "us-east-1"
    );
    assert_eq!(
        metadata.read("meta-data/instance-life-cycle").await,
        "on-demand"
    );
    assert_eq!(metadata.read("user-data").await, "#!/bin/sh\n");
    let document = metadata.read("dynamic/instance-identity/document").await;
    let document: Value = serde_json::from_str(&document).expect("JSON");
    assert_eq!(document["instanceId"], id.as_str());
    assert_eq!(document["accountId"], "123456789012");
    assert_eq!(
        metadata.get("meta-data/spot/instance-action").await.status,
        404
    );
    assert_eq!(metadata.get("meta-data/iam/info").await.status, 404);
}

#[tokio::test]
async fn tags_are_shown_only_when_enabled_and_as_they_are_now() {
    let sim = Sim::start().await;
    let tagged = |shown| {
        [
            ("MetadataOptions.InstanceMetadataTags", shown),
            ("TagSpecification.1.ResourceType", "instance"),
            ("TagSpecification.1.Tag.1.Key", "spawn:uid"),
            ("TagSpecification.1.Tag.1.Value", "u"),
        ]
    };
    let hidden = sim.run(1, &tagged("disabled")).await.remove(0);
    let hidden = Metadata::open(&sim, &hidden).await;
    assert_eq!(
        hidden.get("meta-data/tags/instance/spawn:uid").await.status,
        404
    );
    let shown = sim.run(1, &tagged("enabled")).await.remove(0);
    let metadata = Metadata::open(&sim, &shown).await;
    assert_eq!(
        metadata.read("meta-data/tags/instance/spawn:uid").await,
        "u"
    );
    let tag = [
        ("ResourceId.1", shown.as_str()),
        ("Tag.1.Key", "later"),
        ("Tag.1.Value", "1"),
    ];
    sim.ok("CreateTags", &tag).await;
    assert_eq!(
        metadata.read("meta-data/tags/instance").await,
        "later\nspawn:uid"
    );
    let bad = [
        ("ResourceId.1", shown.as_str()),
        ("Tag.1.Key", "with space"),
    ];
    assert_eq!(sim.code("CreateTags", &bad).await, "InvalidParameterValue");
}

#[tokio::test]
async fn every_instance_of_a_call_has_its_index_and_sees_tags_that_all_are_given_at_once() {
    let sim = Sim::start().await;
    let shown = [("MetadataOptions.InstanceMetadataTags", "enabled")];
    let ids = sim.run(3, &shown).await;
    let long = "x".repeat(256);
    let mut tags = vec![
        ("Tag.1.Key", "spawn:peers"),
        ("Tag.1.Value", "1:2:3:4"),
        ("Tag.2.Key", "spawn:peers-0"),
        ("Tag.2.Value", &long),
    ];
    let places = ["ResourceId.1", "ResourceId.2", "ResourceId.3"];
    tags.extend(places.into_iter().zip(ids.iter().map(String::as_str)));
    sim.ok("CreateTags", &tags).await;
    for (slot, id) in ids.iter().enumerate() {
        let metadata = Metadata::open(&sim, id).await;
        let read = async |path: &str| metadata.read(&format!("meta-data/{path}")).await;
        assert_eq!(read("instance-id").await, *id);
        assert_eq!(read("ami-launch-index").await, slot.to_string());
        assert_eq!(read("tags/instance/spawn:peers").await, "1:2:3:4");
        assert_eq!(read("tags/instance/spawn:peers-0").await, long);
    }
}

#[tokio::test]
async fn a_spot_notice_appears_before_the_interruption() {
    let sim = Sim::start().await;
    let spot = [("InstanceMarketOptions.MarketType", "spot")];
    let id = sim.run(1, &spot).await.remove(0);
    let metadata = Metadata::open(&sim, &id).await;
    sim.control("POST", &format!("instances/{id}/rebalance"), json!({}))
        .await;
    assert!(
        metadata
            .read("meta-data/events/recommendations/rebalance")
            .await
            .contains("noticeTime")
    );
    let path = format!("instances/{id}/spot-interrupt");
    sim.control(
        "POST",
        &path,
        json!({ "action": "terminate", "inSeconds": 120 }),
    )
    .await;
    let notice = metadata.read("meta-data/spot/instance-action").await;
    let notice: Value = serde_json::from_str(&notice).expect("JSON");
    assert_eq!(notice["action"], "terminate");
    assert_eq!(
        metadata.read("meta-data/spot/termination-time").await,
        notice["time"]
    );
    assert_eq!(
        sim.instance(&id).await.text("instanceState/name"),
        "running"
    );
}

#[tokio::test]
async fn a_running_instance_has_a_metadata_address_of_its_own() {
    let mut config = super::client::quick();
    // Any free port; a fixed one could be taken on a busy machine.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    config.imds_port = free.local_addr().expect("bound").port();
    drop(free);
    let sim = Sim::start_with(config).await;
    let ids = sim
        .run(2, &[("MetadataOptions.HttpTokens", "optional")])
        .await;
    let mut read = Vec::new();
    for id in &ids {
        sim.until(id, "running").await;
        let listed = sim.control("GET", "instances", Value::Null).await;
        let listed = listed.as_array().expect("a list");
        let endpoint = listed
            .iter()
            .find(|instance| instance["id"] == id.as_str())
            .and_then(|instance| instance["imds"].as_str()?.strip_prefix("http://"))
            .expect("an endpoint");
        let own = Sim {
            address: endpoint.parse().expect("an address"),
            region: sim.region,
            access_key: String::new(),
        };
        assert_ne!(own.address.ip(), sim.address.ip());
        let reply = own
            .http("GET", "/latest/meta-data/instance-id", &[], b"")
            .await;
        read.push(reply.expect("a reply").text());
    }
    assert_eq!(read, ids);
}

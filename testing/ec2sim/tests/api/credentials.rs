use serde_json::{Value, json};

use super::client::Sim;

/// Two running instances with a role, and the credentials of the first.
async fn world() -> (Sim, Vec<String>, Sim) {
    let sim = Sim::start().await;
    let iam = |action: &'static str, params: &'static [(&'static str, &'static str)]| {
        sim.query("iam", action, params)
    };
    let trust = r#"{"Statement":[]}"#;
    let role = [("RoleName", "worker"), ("AssumeRolePolicyDocument", trust)];
    sim.query("iam", "CreateRole", &role)
        .await
        .expect("a reply")
        .expect("created");
    let profile = &[("InstanceProfileName", "workers")];
    iam("CreateInstanceProfile", profile)
        .await
        .expect("a reply")
        .expect("created");
    let both = &[("InstanceProfileName", "workers"), ("RoleName", "worker")];
    iam("AddRoleToInstanceProfile", both)
        .await
        .expect("a reply")
        .expect("added");
    let ids = sim
        .run(
            2,
            &[
                ("IamInstanceProfile.Name", "workers"),
                ("MetadataOptions.HttpTokens", "optional"),
            ],
        )
        .await;
    sim.until(&ids[0], "running").await;
    let path = format!(
        "/_imds/{}/latest/meta-data/iam/security-credentials/worker",
        ids[0]
    );
    let reply = sim.http("GET", &path, &[], b"").await.expect("a reply");
    let credentials: Value = serde_json::from_slice(&reply.body).expect("JSON");
    let own = sim.with_key(credentials["AccessKeyId"].as_str().expect("a key"));
    (sim, ids, own)
}

#[tokio::test]
async fn an_instance_may_tag_stop_and_terminate_itself() {
    let (sim, ids, own) = world().await;
    let tag = [
        ("ResourceId.1", ids[0].as_str()),
        ("Tag.1.Key", "spawn:state"),
        ("Tag.1.Value", "x"),
    ];
    own.ok("CreateTags", &tag).await;
    let filter = [
        ("Filter.1.Name", "resource-id"),
        ("Filter.1.Value.1", ids[0].as_str()),
    ];
    let tags = own.ok("DescribeTags", &filter).await;
    assert_eq!(tags.texts("tagSet/item/key"), ["spawn:state"]);
    own.ok("TerminateInstances", &[("InstanceId.1", &ids[0])])
        .await;
    sim.until(&ids[0], "terminated").await;
    // With the instance its credentials end.
    assert_eq!(own.code("DescribeTags", &[]).await, "AuthFailure");
}

#[tokio::test]
async fn an_instance_may_do_nothing_else() {
    let (_sim, ids, own) = world().await;
    let cases: [(&str, &[(&str, &str)]); 6] = [
        ("TerminateInstances", &[("InstanceId.1", &ids[1])]),
        (
            "TerminateInstances",
            &[("InstanceId.1", &ids[0]), ("InstanceId.2", &ids[1])],
        ),
        (
            "CreateTags",
            &[("ResourceId.1", &ids[1]), ("Tag.1.Key", "spawn:x")],
        ),
        (
            "CreateTags",
            &[("ResourceId.1", &ids[0]), ("Tag.1.Key", "Name")],
        ),
        ("StartInstances", &[("InstanceId.1", &ids[0])]),
        ("DescribeVolumes", &[]),
    ];
    for (action, params) in cases {
        let refused = own.ec2(action, params).await.expect_err("refused");
        assert_eq!(
            refused,
            (403, "UnauthorizedOperation".to_owned()),
            "{action} {params:?}"
        );
    }
    let iam = own.query("iam", "ListRoles", &[]).await.expect("a reply");
    assert_eq!(iam.expect_err("refused").1, "AccessDenied");
}

#[tokio::test]
async fn revoked_rights_are_gone_until_given_back() {
    let (sim, ids, own) = world().await;
    let path = format!("instances/{}/revoke-iam", ids[0]);
    sim.control("POST", &path, json!({})).await;
    let stop = [("InstanceId.1", ids[0].as_str())];
    assert_eq!(
        own.code("StopInstances", &stop).await,
        "UnauthorizedOperation"
    );
    sim.control("POST", &path, json!({ "on": false })).await;
    own.ok("StopInstances", &stop).await;
}

use super::client::Sim;

#[tokio::test]
async fn tags_are_written_and_removed_by_key_or_by_key_and_value() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let write = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "a"),
        ("Tag.1.Value", "1"),
        ("Tag.2.Key", "b"),
        ("Tag.2.Value", "2"),
        ("Tag.3.Key", "c"),
        ("Tag.3.Value", ""),
    ];
    sim.ok("CreateTags", &write).await;
    let remove = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "a"),
        ("Tag.1.Value", "other"),
        ("Tag.2.Key", "b"),
    ];
    sim.ok("DeleteTags", &remove).await;
    let left = sim.instance(&id).await;
    assert_eq!(left.texts("tagSet/item/key"), ["a", "c"]);
}

#[tokio::test]
async fn tag_limits_are_those_of_ec2() {
    let sim = Sim::start().await;
    let id = sim.run(1, &[]).await.remove(0);
    let many: Vec<(String, String)> = (1..=50)
        .flat_map(|n| {
            [
                (format!("Tag.{n}.Key"), format!("k{n}")),
                (format!("Tag.{n}.Value"), "v".to_owned()),
            ]
        })
        .collect();
    let mut params = vec![("ResourceId.1", id.as_str())];
    params.extend(
        many.iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    sim.ok("CreateTags", &params).await;
    let long = "x".repeat(257);
    let cases: [(&str, &[(&str, &str)]); 4] = [
        ("TagLimitExceeded", &[("Tag.1.Key", "k51")]),
        ("InvalidParameterValue", &[("Tag.1.Key", "aws:mine")]),
        ("InvalidParameterValue", &[("Tag.1.Key", &long)]),
        (
            "InvalidParameterValue",
            &[("Tag.1.Key", "k1"), ("Tag.1.Value", &long)],
        ),
    ];
    for (code, tag) in cases {
        let mut params = vec![("ResourceId.1", id.as_str())];
        params.extend(tag);
        assert_eq!(sim.code("CreateTags", &params).await, code, "{tag:?}");
    }
    // A key that is there already does not count twice.
    let again = [
        ("ResourceId.1", id.as_str()),
        ("Tag.1.Key", "k1"),
        ("Tag.1.Value", "w"),
    ];
    sim.ok("CreateTags", &again).await;
}

#[tokio::test]
async fn unknown_resources_cannot_be_tagged() {
    let sim = Sim::start().await;
    for (id, code) in [
        ("i-0123456789abcdef0", "InvalidInstanceID.NotFound"),
        ("vol-0123456789abcdef0", "InvalidVolume.NotFound"),
        ("what-is-this", "InvalidID"),
    ] {
        let tag = [("ResourceId.1", id), ("Tag.1.Key", "k")];
        assert_eq!(sim.code("CreateTags", &tag).await, code);
    }
}

use serde_json::{Value, json};

use super::client::{Sim, quick};
use ec2sim::config::Config;
use ec2sim::{ListenError, Standin};

#[tokio::test]
async fn unsigned_and_unknown_calls_are_refused() {
    let sim = Sim::start().await;
    let reply = sim
        .http("POST", "/", &[], b"Action=DescribeVpcs")
        .await
        .expect("a reply");
    assert_eq!(reply.status, 403);
    assert!(reply.text().contains("MissingAuthenticationToken"));
    assert_eq!(sim.code("DescribeMars", &[]).await, "InvalidAction");
    let s3 = sim.query("s3", "ListBuckets", &[]).await.expect("a reply");
    assert_eq!(s3.expect_err("not modelled").1, "InvalidAction");
    assert_eq!(
        sim.in_region("mars-north-1")
            .code("DescribeVpcs", &[])
            .await,
        "AuthFailure"
    );
}

#[tokio::test]
async fn a_stand_in_listens_on_loopback_only() {
    let everywhere = "0.0.0.0:0".parse().expect("an address");
    let refused = Standin::bind(Config::default(), everywhere).await;
    assert!(matches!(refused, Err(ListenError::NotLoopback(_))));
}

#[tokio::test]
async fn parameters_are_read_and_written() {
    let sim = Sim::start().await;
    let gpu = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-amazon-linux-2023/latest/ami-id";
    let (status, found) = sim
        .ssm("GetParameters", json!({ "Names": [gpu, "/none"] }))
        .await;
    assert_eq!(status, 200);
    assert_eq!(found["InvalidParameters"], json!(["/none"]));
    let image = found["Parameters"][0]["Value"].as_str().expect("an image");
    let described = sim.ok("DescribeImages", &[("ImageId.1", image)]).await;
    assert_eq!(described.text("imagesSet/item/architecture"), "x86_64");
    let (status, error) = sim.ssm("GetParameter", json!({ "Name": "/none" })).await;
    assert_eq!(
        (status, &error["__type"]),
        (400, &json!("ParameterNotFound"))
    );
    let put = json!({ "Name": "/mine/a", "Value": "1", "Type": "String" });
    assert_eq!(sim.ssm("PutParameter", put.clone()).await.0, 200);
    assert_eq!(
        sim.ssm("PutParameter", put).await.1["__type"],
        "ParameterAlreadyExists"
    );
    let (_, below) = sim
        .ssm("GetParametersByPath", json!({ "Path": "/mine" }))
        .await;
    assert_eq!(below["Parameters"][0]["Name"], "/mine/a");
}

/// The prices of a type on demand: one for each product that passes the filters.
async fn prices(sim: &Sim, filters: &[(&str, &str)]) -> Vec<String> {
    let filters: Vec<Value> = filters
        .iter()
        .map(|(field, value)| json!({ "Type": "TERM_MATCH", "Field": field, "Value": value }))
        .collect();
    let body = json!({ "ServiceCode": "AmazonEC2", "Filters": filters });
    let target = "AWSPriceListService.GetProducts";
    let (status, answer) = sim.json("pricing", target, body).await;
    assert_eq!(status, 200, "{answer}");
    let products = answer["PriceList"].as_array().expect("a list");
    let price = |product: &Value| {
        let text = product.as_str().expect("a document in a string");
        let document: Value = serde_json::from_str(text).expect("JSON");
        let sku = document["product"]["sku"].as_str().expect("a SKU");
        let term = &document["terms"]["OnDemand"][format!("{sku}.JRTCKXETXF")];
        let rate = &term["priceDimensions"][format!("{sku}.JRTCKXETXF.6YS6EN2CT7")];
        assert_eq!(rate["unit"], "Hrs");
        rate["pricePerUnit"]["USD"]
            .as_str()
            .expect("a price")
            .to_owned()
    };
    products.iter().map(price).collect()
}

#[tokio::test]
async fn the_price_list_has_a_product_for_each_way_to_buy_a_type() {
    let sim = Sim::start().await;
    let one = [
        ("instanceType", "t3.micro"),
        ("regionCode", "us-east-1"),
        ("operatingSystem", "Linux"),
        ("tenancy", "Shared"),
        ("preInstalledSw", "NA"),
        ("capacitystatus", "Used"),
    ];
    assert_eq!(prices(&sim, &one).await, ["0.0104000000"]);
    for forgotten in 1..one.len() {
        let mut filters = one.to_vec();
        filters.remove(forgotten);
        assert!(prices(&sim, &filters).await.len() > 1, "{forgotten}");
    }
    let elsewhere = [
        one[0],
        ("regionCode", "eu-west-1"),
        one[2],
        one[3],
        one[4],
        one[5],
    ];
    assert_eq!(prices(&sim, &elsewhere).await, ["0.0124800000"]);
    assert!(
        prices(&sim, &[("instanceType", "t3.none")])
            .await
            .is_empty()
    );
    let nowhere = sim.in_region("eu-west-1");
    let body = json!({ "ServiceCode": "AmazonEC2" });
    let (status, _) = nowhere
        .json("pricing", "AWSPriceListService.GetProducts", body)
        .await;
    assert_eq!(status, 400, "most regions have no Price List");
}

#[tokio::test]
async fn roles_and_profiles_live_and_die_in_order() {
    let sim = Sim::start_with(Config {
        profile_delay: std::time::Duration::from_millis(300),
        ..quick()
    })
    .await;
    let iam = async |action: &str, params: &[(&str, &str)]| {
        sim.query("iam", action, params).await.expect("a reply")
    };
    let code = |answer: super::client::Answer| answer.expect_err("refused").1;
    let role = ("RoleName", "r");
    let trust = (
        "AssumeRolePolicyDocument",
        r#"{"Version":"2012-10-17","Statement":[]}"#,
    );
    assert_eq!(code(iam("GetRole", &[role]).await), "NoSuchEntity");
    iam("CreateRole", &[role, trust]).await.expect("created");
    assert_eq!(
        code(iam("CreateRole", &[role, trust]).await),
        "EntityAlreadyExists"
    );
    let bad = [("RoleName", "s"), ("AssumeRolePolicyDocument", "{")];
    assert_eq!(
        code(iam("CreateRole", &bad).await),
        "MalformedPolicyDocument"
    );
    let policy = [
        role,
        ("PolicyName", "p"),
        ("PolicyDocument", r#"{"Statement":[{"a b":"+"}]}"#),
    ];
    iam("PutRolePolicy", &policy).await.expect("put");
    let read = iam("GetRolePolicy", &policy[..2]).await.expect("read");
    assert_eq!(
        read.text("GetRolePolicyResult/PolicyDocument"),
        "%7B%22Statement%22%3A%5B%7B%22a%20b%22%3A%22%2B%22%7D%5D%7D"
    );
    let profile = ("InstanceProfileName", "i");
    iam("CreateInstanceProfile", &[profile])
        .await
        .expect("created");
    iam("AddRoleToInstanceProfile", &[profile, role])
        .await
        .expect("added");
    // A fresh profile is unknown to EC2 for a moment.
    let with_profile = [("IamInstanceProfile.Name", "i")];
    let early = sim.try_run(1, &with_profile).await.expect_err("too early");
    assert_eq!(early.1, "InvalidParameterValue");
    assert_eq!(code(iam("DeleteRole", &[role]).await), "DeleteConflict");
    iam("DeleteRolePolicy", &policy[..2])
        .await
        .expect("deleted");
    assert_eq!(code(iam("DeleteRole", &[role]).await), "DeleteConflict");
    iam("RemoveRoleFromInstanceProfile", &[profile, role])
        .await
        .expect("removed");
    iam("DeleteRole", &[role]).await.expect("deleted");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while sim.try_run(1, &with_profile).await.is_err() {
        assert!(
            std::time::Instant::now() < deadline,
            "the profile stays unknown"
        );
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    iam("DeleteInstanceProfile", &[profile])
        .await
        .expect("deleted");
}

#[tokio::test]
async fn a_role_is_assumed_with_its_external_id_only() {
    let sim = Sim::start().await;
    let other = sim.with_key("AKIA210987654321");
    let trust =
        r#"{"Statement":[{"Effect":"Allow","Condition":{"StringEquals":{"sts:ExternalId":"e"}}}]}"#;
    let role = [("RoleName", "r"), ("AssumeRolePolicyDocument", trust)];
    other
        .query("iam", "CreateRole", &role)
        .await
        .expect("a reply")
        .expect("created");
    let mut wish = vec![
        ("RoleArn", "arn:aws:iam::210987654321:role/r"),
        ("RoleSessionName", "s"),
    ];
    let denied = sim
        .query("sts", "AssumeRole", &wish)
        .await
        .expect("a reply");
    assert_eq!(
        denied.expect_err("denied"),
        (403, "AccessDenied".to_owned())
    );
    wish.push(("ExternalId", "e"));
    let assumed = sim
        .query("sts", "AssumeRole", &wish)
        .await
        .expect("a reply")
        .expect("assumed");
    let key = assumed.text("AssumeRoleResult/Credentials/AccessKeyId");
    let there = sim.with_key(key);
    let identity = there
        .query("sts", "GetCallerIdentity", &[])
        .await
        .expect("a reply");
    let identity = identity.expect("an identity");
    assert_eq!(
        identity.text("GetCallerIdentityResult/Account"),
        "210987654321"
    );
}

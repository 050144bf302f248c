//! A client of the stand-in's EC2 that launches fast: a few connections, no SDK.

use std::{net::SocketAddr, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, body::Bytes, client::conn::http1, header};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use spore_core::tags::Tags;
use spore_world::sim::{ACCESS_KEY, Sim};
use tokio::{net::TcpStream, sync::Mutex};

use crate::stage::REGION;

/// Zones of the region, each with a default subnet of 4,091 free addresses.
const ZONES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const IMAGE: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
const CONNECTIONS: usize = 4;

/// An instance to launch.
pub(crate) struct Launch {
    pub(crate) token: String,
    pub(crate) tags: Tags,
}

/// Launches these instances, each as a controller would have done: its token, its tags on the
/// instance, its volume and its network interface.
pub(crate) async fn launch(sim: &Sim, launches: Vec<Launch>) -> Result<()> {
    let address: SocketAddr = sim.endpoint().trim_start_matches("http://").parse()?;
    let image = image(address).await?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(Arc::new(Mutex::new(Connection::open(address).await?)));
    }
    stream::iter(launches.into_iter().enumerate())
        .map(|(at, launch)| {
            let connection = Arc::clone(&connections[at % CONNECTIONS]);
            let form = form(&launch, &image, ZONES[at % ZONES.len()]);
            async move { connection.lock().await.call("ec2", None, form).await }
        })
        .buffer_unordered(CONNECTIONS)
        .try_for_each(|_| async { Ok(()) })
        .await
}

async fn image(address: SocketAddr) -> Result<String> {
    let mut connection = Connection::open(address).await?;
    let body = json!({"Name": IMAGE}).to_string();
    let answer = connection
        .call("ssm", Some("AmazonSSM.GetParameter"), body)
        .await?;
    let answer: Value = serde_json::from_slice(&answer)?;
    let id = answer
        .pointer("/Parameter/Value")
        .and_then(Value::as_str)
        .context("the stand-in knows no image of Amazon Linux")?;
    Ok(id.to_owned())
}

fn form(launch: &Launch, image: &str, zone: &str) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    let zone = format!("{REGION}{zone}");
    form.extend_pairs([
        ("Action", "RunInstances"),
        ("Version", "2016-11-15"),
        ("ImageId", image),
        ("InstanceType", "t3.micro"),
        ("MinCount", "1"),
        ("MaxCount", "1"),
        ("InstanceInitiatedShutdownBehavior", "terminate"),
        ("MetadataOptions.HttpTokens", "required"),
        ("MetadataOptions.InstanceMetadataTags", "enabled"),
        ("Placement.AvailabilityZone", &zone),
        ("ClientToken", &launch.token),
    ]);
    for (number, kind) in (1..).zip(["instance", "volume", "network-interface"]) {
        let specification = format!("TagSpecification.{number}");
        form.append_pair(&format!("{specification}.ResourceType"), kind);
        for (tag, (key, value)) in (1..).zip(&launch.tags) {
            form.append_pair(&format!("{specification}.Tag.{tag}.Key"), key);
            form.append_pair(&format!("{specification}.Tag.{tag}.Value"), value);
        }
    }
    form.finish()
}

/// Whether a call changes anything.
pub(crate) fn is_mutating(api: &str) -> bool {
    !["Describe", "Get", "List"]
        .iter()
        .any(|verb| api.starts_with(verb))
}

struct Connection {
    sender: http1::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Ends with the connection, which ends with `sender`.
        tokio::spawn(connection);
        Ok(Self { sender, address })
    }

    async fn call(&mut self, service: &str, target: Option<&str>, body: String) -> Result<Bytes> {
        self.sender.ready().await?;
        // The stand-in reads who calls and where to, and checks no signature.
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20260101/{REGION}/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let mut request = Request::post("/")
            .header(header::HOST, self.address.to_string())
            .header(header::AUTHORIZATION, authorization);
        if let Some(target) = target {
            request = request.header("x-amz-target", target);
        }
        let answer = self
            .sender
            .send_request(request.body(Full::from(body))?)
            .await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        ensure!(
            status.is_success(),
            "the stand-in answers {status}: {}",
            String::from_utf8_lossy(&body)
        );
        Ok(body)
    }
}

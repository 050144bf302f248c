//! A small client: one request a connection, XML into a tree.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ec2sim::Standin;
use ec2sim::config::Config;
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An element of an answer.
#[derive(Debug, Default, Clone)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Node>,
}

impl Node {
    fn parse(document: &str) -> Self {
        let mut reader = Reader::from_str(document);
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().expect("well-formed XML") {
                Event::Start(start) => {
                    let name = start.name().as_ref().to_owned();
                    open.push(Self {
                        name,
                        ..Self::default()
                    });
                }
                Event::End(_) => {
                    let done = open.pop().expect("balanced");
                    open.last_mut().expect("a parent").children.push(done);
                }
                Event::Text(text) => {
                    open.last_mut().expect("a parent").text.push_str(&text);
                }
                Event::GeneralRef(reference) => {
                    let text = match &*reference {
                        "amp" => "&",
                        "lt" => "<",
                        "gt" => ">",
                        "quot" => "\"",
                        other => panic!("an unexpected reference &{other};"),
                    };
                    open.last_mut().expect("a parent").text.push_str(text);
                }
                Event::Eof => return open.remove(0).children.into_iter().next().expect("a root"),
                Event::Empty(_)
                | Event::CData(_)
                | Event::Comment(_)
                | Event::Decl(_)
                | Event::PI(_)
                | Event::DocType(_) => {}
            }
        }
    }

    /// The first element at a path such as `instancesSet/item/instanceId`.
    pub(crate) fn find(&self, path: &str) -> Option<&Self> {
        self.all(path).into_iter().next()
    }

    /// The text at a path.
    pub(crate) fn text(&self, path: &str) -> &str {
        self.find(path).map_or("", |node| &node.text)
    }

    /// Every element at a path, in document order.
    pub(crate) fn all(&self, path: &str) -> Vec<&Self> {
        path.split('/').fold(vec![self], |found, name| {
            found
                .into_iter()
                .flat_map(|node| node.children.iter().filter(move |child| child.name == name))
                .collect()
        })
    }

    /// The texts of every element at a path.
    pub(crate) fn texts(&self, path: &str) -> Vec<String> {
        self.all(path)
            .into_iter()
            .map(|node| node.text.clone())
            .collect()
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// An answered AWS call: the answer, or status and code.
pub(crate) type Answer = Result<Node, (u16, String)>;

/// A stand-in of one test and how to talk to it.
pub(crate) struct Sim {
    pub(crate) address: SocketAddr,
    pub(crate) region: &'static str,
    pub(crate) access_key: String,
}

/// Settings under which states change fast and nothing is throttled.
pub(crate) fn quick() -> Config {
    let soon = Duration::from_millis(30);
    Config {
        limits: false,
        pending: soon,
        stopping: soon,
        shutting_down: soon,
        ..Config::default()
    }
}

impl Sim {
    pub(crate) async fn start() -> Self {
        Self::start_with(quick()).await
    }

    pub(crate) async fn start_with(config: Config) -> Self {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let standin = Standin::bind(config, any).await.expect("a free port");
        let address = standin.address();
        tokio::spawn(standin.run(std::future::pending()));
        Self {
            address,
            region: "us-east-1",
            access_key: "AKIATESTS".into(),
        }
    }

    pub(crate) fn in_region(&self, region: &'static str) -> Self {
        Self {
            address: self.address,
            region,
            access_key: self.access_key.clone(),
        }
    }

    pub(crate) fn with_key(&self, access_key: &str) -> Self {
        Self {
            address: self.address,
            region: self.region,
            access_key: access_key.into(),
        }
    }

    /// One HTTP request; `None` when the connection was closed without a reply.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Option<Reply> {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the stand-in listens");
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Length: {}\r\n",
            self.address,
            body.len()
        );
        for (name, value) in headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(body).await.expect("sent");
        let mut raw = Vec::new();
        // A reset counts as closed without a reply, as the end of the stream does.
        let _ = stream.read_to_end(&mut raw).await;
        let end = raw.windows(4).position(|window| window == b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(&raw[..end]);
        let status = head
            .split(' ')
            .nth(1)
            .expect("a status line")
            .parse()
            .expect("a status");
        Some(Reply {
            status,
            body: raw[end + 4..].to_vec(),
        })
    }

    fn authorization(&self, service: &str) -> String {
        format!(
            "AWS4-HMAC-SHA256 Credential={}/20261121/{}/{service}/aws4_request, SignedHeaders=host, Signature=0",
            self.access_key, self.region
        )
    }

    /// A query call; `None` when the connection was closed without a reply.
    pub(crate) async fn query(
        &self,
        service: &str,
        action: &str,
        params: &[(&str, &str)],
    ) -> Option<Answer> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action)
            .append_pair("Version", "2016-11-15");
        form.extend_pairs(params);
        let authorization = self.authorization(service);
        let headers = [("Authorization", authorization.as_str())];
        let reply = self
            .http("POST", "/", &headers, form.finish().as_bytes())
            .await?;
        let status = reply.status;
        let text = reply.text();
        if status == 200 {
            return Some(Ok(Node::parse(&text)));
        }
        if !text.starts_with('<') {
            return Some(Err((status, String::new())));
        }
        let root = Node::parse(&text);
        let code = ["Errors/Error/Code", "Error/Code"]
            .iter()
            .map(|path| root.text(path));
        Some(Err((status, code.collect())))
    }

    /// An EC2 call.
    pub(crate) async fn ec2(&self, action: &str, params: &[(&str, &str)]) -> Answer {
        self.query("ec2", action, params).await.expect("a reply")
    }

    /// An EC2 call that must succeed.
    pub(crate) async fn ok(&self, action: &str, params: &[(&str, &str)]) -> Node {
        match self.ec2(action, params).await {
            Ok(answer) => answer,
            Err(error) => panic!("{action} {params:?}: {error:?}"),
        }
    }

    /// The code of an EC2 call that must fail.
    pub(crate) async fn code(&self, action: &str, params: &[(&str, &str)]) -> String {
        match self.ec2(action, params).await {
            Ok(answer) => panic!("{action} {params:?} succeeded: {answer:?}"),
            Err((_, code)) => code,
        }
    }

    /// An SSM call: status and document.
    pub(crate) async fn ssm(&self, action: &str, body: Value) -> (u16, Value) {
        self.json("ssm", &format!("AmazonSSM.{action}"), body).await
    }

    /// A JSON 1.1 call of a service.
    pub(crate) async fn json(&self, service: &str, target: &str, body: Value) -> (u16, Value) {
        let authorization = self.authorization(service);
        let headers = [
            ("Authorization", authorization.as_str()),
            ("X-Amz-Target", target),
        ];
        let reply = self
            .http("POST", "/", &headers, body.to_string().as_bytes())
            .await;
        let reply = reply.expect("a reply");
        (
            reply.status,
            serde_json::from_slice(&reply.body).expect("JSON"),
        )
    }

    /// A call of the control interface that must succeed.
    pub(crate) async fn control(&self, method: &str, path: &str, body: Value) -> Value {
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("/_sim/{path}");
        let reply = self
            .http(method, &path, &[], body.as_bytes())
            .await
            .expect("a reply");
        assert_eq!(reply.status, 200, "{path}: {}", reply.text());
        serde_json::from_slice(&reply.body).expect("JSON")
    }

    pub(crate) async fn fault(&self, fault: Value) -> Value {
        self.control("POST", "faults", fault).await
    }

    /// The image that SSM names for Amazon Linux.
    pub(crate) async fn image(&self, architecture: &str) -> String {
        let name = format!(
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-{architecture}"
        );
        let (status, found) = self
            .ssm("GetParameter", serde_json::json!({ "Name": name }))
            .await;
        assert_eq!(status, 200, "{found}");
        found["Parameter"]["Value"]
            .as_str()
            .expect("an image id")
            .to_owned()
    }

    /// RunInstances of small instances, with further parameters.
    pub(crate) async fn try_run(&self, count: usize, further: &[(&str, &str)]) -> Answer {
        let (image, count) = (self.image("x86_64").await, count.to_string());
        let mut params = vec![
            ("ImageId", image.as_str()),
            ("InstanceType", "t3.micro"),
            ("MinCount", &count),
            ("MaxCount", &count),
        ];
        params.retain(|(name, _)| !further.iter().any(|(other, _)| other == name));
        params.extend(further);
        self.ec2("RunInstances", &params).await
    }

    /// The ids that a launch gave.
    pub(crate) async fn run(&self, count: usize, further: &[(&str, &str)]) -> Vec<String> {
        let launched = self.try_run(count, further).await.expect("launched");
        launched.texts("instancesSet/item/instanceId")
    }

    /// One instance as it is listed.
    pub(crate) async fn instance(&self, id: &str) -> Node {
        let listed = self.ok("DescribeInstances", &[("InstanceId.1", id)]).await;
        listed
            .find("reservationSet/item/instancesSet/item")
            .expect("listed")
            .clone()
    }

    /// Waits until an instance is in a state, and returns it.
    pub(crate) async fn until(&self, id: &str, state: &str) -> Node {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let instance = self.instance(id).await;
            let now = instance.text("instanceState/name");
            if now == state {
                return instance;
            }
            assert!(Instant::now() < deadline, "{id} is {now}, not {state}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

//! The certificates of a control plane: one authority, and a key pair for each party.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType,
    ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth},
    IsCa, KeyPair, KeyUsagePurpose,
};

/// The files of a control plane's certificates, below one directory.
#[derive(Clone, Debug)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Names the files; they may not exist yet.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The authority's certificate.
    pub fn ca(&self) -> PathBuf {
        self.dir.join("ca.crt")
    }

    /// A party's certificate.
    pub fn cert(&self, party: &str) -> PathBuf {
        self.dir.join(format!("{party}.crt"))
    }

    /// A party's private key.
    pub fn key(&self, party: &str) -> PathBuf {
        self.dir.join(format!("{party}.key"))
    }

    /// A party's bare public key, where it has no certificate.
    pub fn public_key(&self, party: &str) -> PathBuf {
        self.dir.join(format!("{party}.pub"))
    }

    /// Makes everything anew. The authority's own key is thrown away.
    pub fn create(&self) -> Result<()> {
        fs::create_dir_all(&self.dir)?;
        let authority = authority()?;
        fs::write(self.ca(), authority.pem())?;
        let servers = [
            "127.0.0.1",
            "localhost",
            "10.0.0.1",
            "kubernetes.default.svc",
        ];
        // The group and the user names are those that Kubernetes' bootstrap roles are bound to.
        self.issue(&authority, "etcd", None, &servers)?;
        self.issue(&authority, "kube-apiserver", None, &servers)?;
        self.issue(&authority, "admin", Some("system:masters"), &[])?;
        self.issue(&authority, "system:kube-controller-manager", None, &[])?;
        // Signs service account tokens; no certificate belongs to it.
        let tokens = KeyPair::generate()?;
        fs::write(self.public_key("service-account"), tokens.public_key_pem())?;
        write_secret(&self.key("service-account"), &tokens.serialize_pem())
    }

    fn issue(
        &self,
        authority: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        group: Option<&str>,
        hosts: &[&str],
    ) -> Result<()> {
        let mut params =
            CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params
                .distinguished_name
                .push(DnType::OrganizationName, group);
        }
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ClientAuth];
        if !hosts.is_empty() {
            params.extended_key_usages.push(ServerAuth);
        }
        let key = KeyPair::generate()?;
        fs::write(self.cert(name), params.signed_by(&key, authority)?.pem())?;
        write_secret(&self.key(name), &key.serialize_pem())
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "spore local world");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<()> {
    // A file that exists would keep its mode.
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}

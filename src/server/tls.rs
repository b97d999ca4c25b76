//! TLS for a connection that is not the redis crate's, on the same terms.

use std::{fmt, path::Path, sync::Arc};

use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};

use crate::{
    endpoint::{Endpoint, Tls},
    error::{Code, Error, Result},
};

/// A session that has not begun yet.
pub(super) fn session(endpoint: &Endpoint, tls: &Tls) -> Result<ClientConnection> {
    let (config, name) = terms(endpoint, tls)?;
    ClientConnection::new(config, name).map_err(|e| failed(&e))
}

fn failed(what: &dyn fmt::Display) -> Error {
    Error::new(Code::TlsFailed, format!("the TLS handshake failed: {what}"))
}

/// Whom to trust and what to show, and the name that the server must have.
pub(super) fn terms(endpoint: &Endpoint, tls: &Tls) -> Result<(Arc<ClientConfig>, ServerName<'static>)> {
    let provider = ring::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| failed(&e))?;
    let config = if tls.validate_certs {
        config.with_root_certificates(authorities(tls.ca_certs.as_deref())?)
    } else {
        config.dangerous().with_custom_certificate_verifier(Arc::new(AnyCertificate(algorithms)))
    };
    let config = match (&tls.client_cert_file, &tls.client_key_file) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unusable("client_key_file", &e))?;
            config.with_client_auth_cert(certificates("client_cert_file", certificate)?, key).map_err(|e| failed(&e))?
        }
        _ => config.with_no_client_auth(),
    };
    let name = ServerName::try_from(endpoint.host.clone()).map_err(|e| failed(&e))?;
    Ok((Arc::new(config), name))
}

fn authorities(file: Option<&Path>) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    match file {
        Some(file) => {
            for certificate in certificates("ca_certs", file)? {
                store.add(certificate).map_err(|e| unusable("ca_certs", &e))?;
            }
        }
        // One that can't be read is none: a system may have such among its own.
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(store)
}

fn certificates(field: &str, file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(|e| unusable(field, &e))
}

fn unusable(field: &str, why: &dyn fmt::Display) -> Error {
    Error::input(field, why)
}

/// Accepts every certificate, for whoever has turned validation off.
#[derive(Debug)]
struct AnyCertificate(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}

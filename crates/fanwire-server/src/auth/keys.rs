//! Keys: with what tokens are checked.
//!
//! In      a file with a public key in PEM or with a secret, or a JWKS file
//! Out     keys, each for one algorithm
//! Bounds  a file of `FILE_BYTES_MAX`, `KEYS_MAX` keys
//! Source  RFC 7517, RFC 7518; RFC 7468 for PEM; RFC 8017, RFC 5480 and RFC 8410 for what is in it

use std::{fmt, fs::File, io::Read as _, ops::RangeInclusive, path::Path};

use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde_json::Value;

/// All keys of a server.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

/// A key and the one algorithm that it is for.
pub(super) struct Key {
    id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl Keys {
    /// Reads whichever file there is.
    ///
    /// # Errors
    /// What is wrong with it, and what to put there.
    pub(super) fn read(key: Option<&Path>, set: Option<&Path>) -> Result<Self, String> {
        let of = |setting: &str, path: &Path, take: fn(&[u8]) -> Result<Self, String>| {
            let taken =
                read(path).and_then(|bytes| take(&bytes).map_err(|why| format!("{}: {why}", path.display())));
            taken.map_err(|why| format!("{setting}: {why}"))
        };
        match (key, set) {
            (Some(path), None) => of("auth_key_file", path, |bytes| Ok(Self(vec![Key::of_file(bytes)?]))),
            (None, Some(path)) => of("auth_jwks_file", path, Self::of_set),
            (None, None) => Err("auth = jwt needs auth_key_file or auth_jwks_file".to_owned()),
            (Some(_), Some(_)) => Err("auth_key_file and auth_jwks_file: give one of the two".to_owned()),
        }
    }

    /// Keys that may have signed a token with this header: those of its id if it names one that is known.
    pub(super) fn for_token(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| match (id, &key.id) {
            (Some(id), Some(own)) => id == own,
            _ => true,
        };
        self.0.iter().filter(move |key| key.algorithm == algorithm).filter(fits)
    }

    fn of_set(bytes: &[u8]) -> Result<Self, String> {
        let set: Value = serde_json::from_slice(bytes).map_err(|error| format!("is no JSON: {error}"))?;
        let listed = set["keys"].as_array().ok_or(r#"is no JWKS: give {"keys":[...]}"#)?;
        if listed.len() > KEYS_MAX {
            return Err(format!("has more than {KEYS_MAX} keys"));
        }
        let mut keys = Vec::new();
        for (index, value) in listed.iter().enumerate() {
            // RFC 7517 s5: keys that are not understood are passed over.
            match serde_json::from_value::<Jwk>(value.clone())
                .map_err(|error| error.to_string())
                .and_then(Key::of_jwk)
            {
                Ok(key) => keys.push(key),
                Err(why) => tracing::info!("key {index} of the JWKS file is passed over: {why}"),
            }
        }
        if keys.is_empty() {
            return Err("has no key for HS256, RS256, ES256 or EdDSA".to_owned());
        }
        Ok(Self(keys))
    }
}

/// A secret of our own: the file's bytes without the line's end.
///
/// # Errors
/// What is wrong with the file, and what to put there.
pub(super) fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    let secret = line_of(&bytes);
    if secret.len() < SECRET_BYTES_MIN {
        return Err(format!(
            "{}: a secret has {SECRET_BYTES_MIN} bytes at least, this one {}: make one with `openssl rand -base64 48`",
            path.display(),
            secret.len()
        ));
    }
    Ok(secret.to_vec())
}

impl Key {
    fn of_file(bytes: &[u8]) -> Result<Self, String> {
        if bytes.windows(PEM.len()).any(|part| part == PEM) {
            return Self::of_pem(
                std::str::from_utf8(bytes).map_err(|_| "is PEM with bytes that are no text")?,
            );
        }
        let line = line_of(bytes);
        // RFC 8725 s3.1: whoever has the public key could sign tokens if it were taken for a secret.
        match public_form(line) {
            Some(form) => {
                Err(format!("{form}, and no secret: a secret is random, as of `openssl rand -base64 48`"))
            }
            None => Self::of_secret(None, line),
        }
    }

    fn of_secret(id: Option<String>, secret: &[u8]) -> Result<Self, String> {
        // RFC 7518 s3.2: a key as long as the hash, at least.
        if secret.len() < SECRET_BYTES_MIN {
            return Err(format!(
                "a secret for HS256 has {SECRET_BYTES_MIN} bytes at least, this one {}: make one with `openssl rand \
                 -base64 48`",
                secret.len()
            ));
        }
        Ok(Self { id, algorithm: Algorithm::HS256, key: DecodingKey::from_secret(secret) })
    }

    fn of_pem(text: &str) -> Result<Self, String> {
        let (_, rest) = text.split_once("-----BEGIN ").unwrap_or_default();
        let (label, rest) = rest.split_once("-----").ok_or("is no PEM")?;
        let body = rest.split("-----END ").next().unwrap_or_default();
        let body: String = body.chars().filter(|letter| !letter.is_ascii_whitespace()).collect();
        let der = STANDARD.decode(body).map_err(|error| format!("is no PEM: {error}"))?;
        match label {
            "PUBLIC KEY" => Self::of_public_key(&der).ok_or_else(|| {
                "is a public key of another kind: RSA of 2048 bits or more, P-256 and Ed25519 are known"
                    .to_owned()
            }),
            "RSA PUBLIC KEY" => Self::of_rsa_key(&der).ok_or_else(|| RSA_LENGTH.to_owned()),
            "CERTIFICATE" => {
                Err("is a certificate: give its key, by `openssl x509 -pubkey -noout`".to_owned())
            }
            label if label.contains("PRIVATE") => Err(
                "is a private key, which a server that checks tokens must not have: give the public one, by \
                     `openssl pkey -pubout`"
                    .to_owned(),
            ),
            label => Err(format!("is a {label:?}: give a public key in PEM, or a secret")),
        }
    }

    /// A `SubjectPublicKeyInfo`. What stands before the keys themselves never varies.
    fn of_public_key(der: &[u8]) -> Option<Self> {
        let of = |algorithm, key| Some(Self { id: None, algorithm, key });
        if let Some(key) = der.strip_prefix(ED25519_HEAD).filter(|key| key.len() == 32) {
            return of(Algorithm::EdDSA, DecodingKey::from_ed_der(key));
        }
        if let Some(key) = der.strip_prefix(P256_HEAD).filter(|key| key.len() == 65) {
            return of(Algorithm::ES256, DecodingKey::from_ec_der(key));
        }
        // Two lengths of two bytes each, from 2048 bits on, stand before and behind the name of the algorithm.
        let (outer, rest) = der.split_at_checked(4)?;
        let rest = rest.strip_prefix(RSA_NAME).filter(|_| outer.starts_with(&[0x30, 0x82]))?;
        let (inner, key) = rest.split_at_checked(5)?;
        let is_key = inner.starts_with(&[0x03, 0x82]) && inner[4] == 0;
        if is_key { Self::of_rsa_key(key) } else { None }
    }

    /// An `RSAPublicKey` (RFC 8017 appendix A.1.1) of a length that can be verified with: a sequence of two numbers, the
    /// first of which has a length of two bytes from 2048 bits on.
    fn of_rsa_key(der: &[u8]) -> Option<Self> {
        let (head, rest) = der.split_at_checked(8)?;
        let modulus = rest.get(..usize::from(head[6]) << 8 | usize::from(head[7]))?;
        let is_number = head.starts_with(&[0x30, 0x82]) && head[4..].starts_with(&[0x02, 0x82]);
        let is_fit = is_number && is_rsa_length(modulus);
        is_fit.then(|| Self { id: None, algorithm: Algorithm::RS256, key: DecodingKey::from_rsa_der(der) })
    }

    fn of_jwk(jwk: Jwk) -> Result<Self, String> {
        if jwk.common.public_key_use.as_ref().is_some_and(|use_of| *use_of != PublicKeyUse::Signature) {
            return Err("it is not for signatures".to_owned());
        }
        if jwk.common.key_operations.as_ref().is_some_and(|known| !known.contains(&KeyOperations::Verify)) {
            return Err("it is not to verify with".to_owned());
        }
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKey(_) => Algorithm::HS256,
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDSA,
            _ => return Err("its kind or curve is not known here".to_owned()),
        };
        if jwk.common.key_algorithm.is_some_and(|named| named != algorithm.into()) {
            return Err("its algorithm is not known here".to_owned());
        }
        if let AlgorithmParameters::RSA(key) = &jwk.algorithm
            && !URL_SAFE_NO_PAD.decode(&key.n).is_ok_and(|modulus| is_rsa_length(&modulus))
        {
            return Err(RSA_LENGTH.to_owned());
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(|error| error.to_string())?;
        if algorithm == Algorithm::HS256 {
            return Self::of_secret(
                jwk.common.key_id,
                key.try_get_as_bytes().map_err(|error| error.to_string())?,
            );
        }
        Ok(Self { id: jwk.common.key_id, algorithm, key })
    }
}

fn is_rsa_length(modulus: &[u8]) -> bool {
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    RSA_BYTES.contains(&(modulus.len() - zeros))
}

/// What these bytes are if they are a key that others may know, and how to give it.
fn public_form(bytes: &[u8]) -> Option<&'static str> {
    let text = bytes.trim_ascii_start();
    if text.starts_with(b"{") || text.starts_with(b"[") {
        return Some("is JSON: give a JWKS by auth_jwks_file, as {\"keys\":[...]}");
    }
    if [&b"ssh-"[..], b"ecdsa-", b"sk-ssh-", b"sk-ecdsa-"].iter().any(|head| text.starts_with(head)) {
        return Some("is a key of OpenSSH: give it in PEM, by `ssh-keygen -e -m PKCS8`");
    }
    let letters: Vec<u8> = text.iter().copied().filter(|letter| !letter.is_ascii_whitespace()).collect();
    let is_der = is_sequence(bytes) || STANDARD.decode(letters).is_ok_and(|bytes| is_sequence(&bytes));
    is_der.then_some("is a key in DER: give it in PEM, by `openssl pkey -pubin -inform DER`")
}

/// A `SEQUENCE` of DER that is as long as it says (X.690 section 8.1): every public key and certificate is one.
fn is_sequence(bytes: &[u8]) -> bool {
    let length = match bytes {
        [0x30, length @ ..=0x7f, content @ ..] => (usize::from(*length), content.len()),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content.len()),
        [0x30, 0x82, high, low, content @ ..] => (usize::from(*high) << 8 | usize::from(*low), content.len()),
        _ => return false,
    };
    length.0 == length.1
}

/// An editor ends a file with a new line.
fn line_of(bytes: &[u8]) -> &[u8] {
    let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| format!("cannot open {}: {error}", path.display()))?;
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    let count = read.map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    if count as u64 > FILE_BYTES_MAX {
        return Err(format!("{} has more than 1 MiB: is it the right file?", path.display()));
    }
    Ok(bytes)
}

/// RFC 8410 s4: a sequence, the name of Ed25519, a string of 32 bytes.
const ED25519_HEAD: &[u8] = &[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// RFC 5480 s2: a sequence, the names of elliptic curves and of P-256, a string of 65 bytes: a point in full.
const P256_HEAD: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// RFC 8017 appendix A.1: the name of RSA, with no parameters.
const RSA_NAME: &[u8] =
    &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

/// Lengths of an RSA key that signatures can be verified with.
const RSA_BYTES: RangeInclusive<usize> = 256..=1024;

const RSA_LENGTH: &str = "is no RSA key of 2048 to 8192 bits, and no other is verified with";

const PEM: &[u8] = b"-----BEGIN ";

const SECRET_BYTES_MIN: usize = 32;

const FILE_BYTES_MAX: u64 = 1 << 20;

/// A token that names no key is tried with each of its algorithm.
const KEYS_MAX: usize = 32;

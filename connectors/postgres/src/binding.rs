//! Channel binding `tls-server-end-point` (RFC 5929, section 4.1): the hash of the server's certificate, with the hash
//! function of the certificate's own signature, or SHA-256 where that is MD5 or SHA-1. Knows just enough DER to find
//! the signature's algorithm.

use aws_lc_rs::digest::{Algorithm, SHA224, SHA256, SHA384, SHA512, digest};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
const EXPLICIT_0: u8 = 0xA0;

/// 1.2.840.113549.1.1, without its last part.
const RSA: &[u8] = &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01];
/// 1.2.840.10045.4.3, without its last part.
const ECDSA: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03];
/// 1.2.840.10045.4.1.
const ECDSA_SHA1: &[u8] = &[0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x01];
/// 2.16.840.1.101.3.4.2, without its last part.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

/// The binding's data for a DER certificate. `None` where the standard defines none (Ed25519, Ed448) or the
/// certificate cannot be read: the exchange then goes on without binding.
pub(crate) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (content, _) = element(certificate, SEQUENCE)?;
    let (_to_be_signed, rest) = element(content, SEQUENCE)?;
    let (algorithm, _) = element(rest, SEQUENCE)?;
    let (oid, parameters) = element(algorithm, OBJECT_IDENTIFIER)?;
    let hash = hash_of_signature(oid, parameters)?;
    Some(digest(hash, certificate).as_ref().to_vec())
}

fn hash_of_signature(oid: &[u8], parameters: &[u8]) -> Option<&'static Algorithm> {
    if oid == ECDSA_SHA1 {
        return Some(&SHA256);
    }
    let (last, family) = oid.split_last()?;
    match (family, *last) {
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(&SHA256),
        (RSA, 12) | (ECDSA, 3) => Some(&SHA384),
        (RSA, 13) | (ECDSA, 4) => Some(&SHA512),
        (RSA, 14) | (ECDSA, 1) => Some(&SHA224),
        (RSA, 10) => hash_of_pss(parameters),
        _ => None,
    }
}

/// RSASSA-PSS names its hash in the parameters; absent means SHA-1 (RFC 4055).
fn hash_of_pss(parameters: &[u8]) -> Option<&'static Algorithm> {
    let (parameters, _) = element(parameters, SEQUENCE)?;
    let Some((hash, _)) = element(parameters, EXPLICIT_0) else { return Some(&SHA256) };
    let (hash, _) = element(hash, SEQUENCE)?;
    let (oid, _) = element(hash, OBJECT_IDENTIFIER)?;
    match oid.split_last()? {
        (1, SHA2) => Some(&SHA256),
        (2, SHA2) => Some(&SHA384),
        (3, SHA2) => Some(&SHA512),
        (4, SHA2) => Some(&SHA224),
        _ => None,
    }
}

/// Content of the first element and what follows it, if it has the tag.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    let [found, length] = *head else { return None };
    if found != tag {
        return None;
    }
    if length < 0x80 {
        return rest.split_at_checked(usize::from(length));
    }
    let (length, rest) = rest.split_at_checked(usize::from(length & 0x7F))?;
    if length.is_empty() || length.len() > 4 {
        return None;
    }
    let length = length.iter().fold(0usize, |length, byte| (length << 8) | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wrap(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        let mut out = vec![tag, 0x82, length[0], length[1]];
        out.extend_from_slice(content);
        out
    }

    fn certificate(algorithm: &[u8]) -> Vec<u8> {
        let body = [wrap(SEQUENCE, &[7; 300]), wrap(SEQUENCE, algorithm), wrap(0x03, &[0; 64])].concat();
        wrap(SEQUENCE, &body)
    }

    #[test]
    fn pg_96_the_hash_follows_the_certificates_signature() {
        let pss = |oid: &[u8]| {
            let hash = wrap(EXPLICIT_0, &wrap(SEQUENCE, &wrap(OBJECT_IDENTIFIER, oid)));
            [wrap(OBJECT_IDENTIFIER, &[RSA, &[10]].concat()), wrap(SEQUENCE, &hash)].concat()
        };
        let plain = |family: &[u8], last: u8| wrap(OBJECT_IDENTIFIER, &[family, &[last]].concat());
        for (algorithm, expected) in [
            (plain(RSA, 5), Some(&SHA256)),
            (plain(RSA, 11), Some(&SHA256)),
            (plain(RSA, 12), Some(&SHA384)),
            (plain(RSA, 13), Some(&SHA512)),
            (plain(ECDSA, 2), Some(&SHA256)),
            (plain(ECDSA, 4), Some(&SHA512)),
            (pss(&[SHA2, &[3]].concat()), Some(&SHA512)),
            (wrap(OBJECT_IDENTIFIER, &[0x2B, 0x65, 0x70]), None),
        ] {
            let certificate = certificate(&algorithm);
            let expected = expected.map(|hash| digest(hash, &certificate).as_ref().to_vec());
            assert_eq!(server_end_point(&certificate), expected);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = server_end_point(&bytes);
        }
    }
}

//! Servers that are not what they seem, played by hand.

use super::*;
use crate::wire::login::capability;
use crate::wire::packet::frame;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

const ALL: u32 = capability::PROTOCOL_41
    | capability::TRANSACTIONS
    | capability::SECURE_CONNECTION
    | capability::PLUGIN_AUTH
    | capability::CONNECT_ATTRIBUTES
    | capability::PLUGIN_AUTH_LENGTH_ENCODED
    | capability::LONG_PASSWORD;

fn greeting(capabilities: u32) -> Vec<u8> {
    let [a, b, c, d] = capabilities.to_le_bytes();
    let mut message = b"\x0A8.0.31\0\x07\0\0\0abcdefgh\0".to_vec();
    message.extend_from_slice(&[a, b, 45, 2, 0, c, d, 21]);
    message.extend_from_slice(&[0; 10]);
    message.extend_from_slice(b"ijklmnopqrst\0caching_sha2_password\0");
    message
}

/// Plays a server that says its messages one after another, each after the first once something was heard; returns what
/// the connection came to and all that the server has heard.
async fn play(parameters: &str, says: Vec<Vec<u8>>) -> (Result<Connection>, Vec<u8>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut heard = Vec::new();
        for (index, bytes) in says.iter().enumerate() {
            if index > 0 && stream.read_buf(&mut heard).await.unwrap_or(0) == 0 {
                break;
            }
            stream.write_all(bytes).await.unwrap();
        }
        // Until the other side has gone.
        while stream.read_buf(&mut heard).await.unwrap_or(0) > 0 {}
        heard
    });
    let settings = testing::settings(&format!("mysql://u:secret@127.0.0.1:{port}{parameters}"));
    let opened = Connection::open(&settings, &settings.hosts[0]).await;
    let failed = opened.is_err();
    if failed {
        let heard = server.await.unwrap();
        return (opened, heard);
    }
    (opened, Vec::new())
}

fn packet(message: &[u8], sequence: u8) -> Vec<u8> {
    let mut out = Vec::new();
    frame(message, sequence, &mut out);
    out
}

fn holds(heard: &[u8], what: &[u8]) -> bool {
    heard.windows(what.len()).any(|window| window == what)
}

#[tokio::test]
async fn my_56_an_offer_of_encryption_that_was_struck_out_is_missed() {
    for mode in ["REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"] {
        let (opened, heard) = play(&format!("?ssl-mode={mode}"), vec![packet(&greeting(ALL), 0)]).await;
        assert_eq!(opened.unwrap_err().code(), "tls_not_offered");
        assert_eq!(heard, b"", "nothing was said");
    }
}

#[tokio::test]
async fn my_56_what_is_said_before_encryption_does_not_count() {
    let mut says = packet(&greeting(ALL | capability::SSL), 0);
    says.extend(packet(b"\0\0\0\x02\0\0\0", 1));
    let (opened, heard) = play("?ssl-mode=REQUIRED", vec![says]).await;
    assert_eq!(opened.unwrap_err().code(), "protocol_violation");
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn my_55_no_password_is_shown_to_whoever_asks() {
    for ask in [&b"\xFEmysql_clear_password\0"[..], b"\xFEsha256_password\0ABCDEFGHIJKLMNOPQRST\0", b"\x01\x04"] {
        let says = vec![packet(&greeting(ALL), 0), packet(ask, 2)];
        let (opened, heard) = play("?ssl-mode=DISABLED", says).await;
        assert_eq!(opened.unwrap_err().code(), "cleartext_password");
        assert!(holds(&heard, b"caching_sha2_password") && !holds(&heard, b"secret"));
    }
}

#[tokio::test]
async fn my_59_a_full_server_is_tried_again_and_no_server_is_told() {
    let (opened, _) = play("?ssl-mode=DISABLED", vec![packet(b"\xFF\x10\x04Too many connections", 0)]).await;
    let error = opened.unwrap_err();
    assert_eq!((error.kind(), error.code()), (ErrorKind::Retry, "server_full"));
    let (opened, _) = play("?ssl-mode=DISABLED", vec![packet(b"HTTP/1.1 400", 0)]).await;
    assert_eq!(opened.unwrap_err().code(), "protocol_violation");
    // Cut in the greeting, and after our answer.
    let whole = packet(&greeting(ALL), 0);
    let (opened, _) = play("?ssl-mode=DISABLED&connect_timeout=1", vec![whole[..20].to_vec()]).await;
    assert_eq!(opened.unwrap_err().code(), "connect_timeout");
}

#[tokio::test]
async fn no_file_of_ours_is_sent() {
    let says = vec![packet(&greeting(ALL), 0), packet(b"\0\0\0\x02\0\0\0", 2), packet(b"\xFB/etc/passwd", 1)];
    let (opened, heard) = play("?ssl-mode=DISABLED", says).await;
    assert_eq!(opened.unwrap_err().code(), "protocol_violation");
    assert!(!holds(&heard, b"root:"));
}

#[tokio::test]
async fn my_59_packets_out_of_order_end_the_session() {
    let says = vec![packet(&greeting(ALL), 0), packet(b"\0\0\0\x02\0\0\0", 3)];
    let (opened, _) = play("?ssl-mode=DISABLED", says).await;
    assert_eq!(opened.unwrap_err().code(), "protocol_violation");
}

//! Each fault as a client sees it, against a server that echoes.

use super::*;
use std::io::{ErrorKind, Read, Write};

const SOON: Duration = Duration::from_secs(10);

fn echo() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(count) = (&stream).read(&mut buffer) {
                    if count == 0 || (&stream).write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    port
}

fn connect(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port())).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    stream
}

fn round(mut stream: &TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).unwrap();
    let mut back = vec![0; text.len()];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(back, text.as_bytes());
}

#[test]
fn it_forwards_delays_and_dribbles() {
    let proxy = Proxy::start(echo()).unwrap();
    let stream = connect(&proxy);
    round(&stream, "plain");
    proxy.split(1);
    proxy.delay(Duration::from_millis(2));
    let begin = std::time::Instant::now();
    round(&stream, "0123456789");
    assert!(begin.elapsed() >= Duration::from_millis(20), "{:?}", begin.elapsed());
    proxy.resume();
    round(&stream, "plain again");
    assert_eq!(proxy.connections(), 1);
}

#[test]
fn a_cut_is_a_reset_and_a_close_is_an_end() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = connect(&proxy);
    round(&stream, "up");
    proxy.cut();
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut stream = connect(&proxy);
    round(&stream, "up again");
    proxy.close();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
    assert_eq!(proxy.connections(), 0);
}

#[test]
fn who_comes_back_finds_the_other_server() {
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = connect(&proxy);
    round(&stream, "first");
    proxy.turn_to(second.local_addr().unwrap().port());
    assert_eq!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut stream = connect(&proxy);
    second.accept().unwrap().0.write_all(b"second").unwrap();
    let mut word = [0; 6];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"second");
}

#[test]
fn a_stall_holds_everything_back_and_loses_nothing() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = connect(&proxy);
    round(&stream, "up");
    proxy.stall();
    stream.write_all(b"held").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    assert!(matches!(stream.read(&mut [0; 8]).unwrap_err().kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut));
    stream.set_read_timeout(Some(SOON)).unwrap();
    let late = connect(&proxy);
    proxy.resume();
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"held");
    round(&late, "late");
}

#[test]
fn a_planned_cut_lets_no_more_pass() {
    let proxy = Proxy::start(echo()).unwrap();
    let mut stream = connect(&proxy);
    round(&stream, "up");
    proxy.cut_after(Direction::ToServer, 3);
    stream.write_all(b"abcdef").unwrap();
    let mut back = Vec::new();
    assert_eq!(stream.read_to_end(&mut back).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(b"abc".starts_with(&back[..]), "{back:?}");
    round(&connect(&proxy), "next");
    proxy.refuse();
    let mut refused = connect(&proxy);
    assert!(refused.read(&mut [0; 8]).is_err());
}

use super::*;
use std::io::{Read, Write};
use std::time::{Duration, UNIX_EPOCH};

/// Status, head and body of one exchange.
fn ask(store: &Gcs, method: &str, target: &str, headers: &str, body: &str) -> (u16, String, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", store.port)).unwrap();
    write!(stream, "{method} {target} HTTP/1.1\r\nContent-Length: {}\r\n{headers}\r\n{body}", body.len()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap();
    (status.parse().unwrap(), head.to_owned(), body.to_owned())
}

const CREATE: &str = "x-goog-if-generation-match: 0\r\n";

#[test]
fn a_name_is_created_once() {
    let store = Gcs::start().unwrap();
    assert_eq!(ask(&store, "GET", "/lake/a%2Fb", "", "").0, 404);
    assert_eq!(ask(&store, "PUT", "/other/a", "", "x").0, 404);
    assert_eq!(ask(&store, "PUT", "/lake/a%2Fb", CREATE, "one").0, 200);
    assert_eq!(ask(&store, "PUT", "/lake/a%2Fb", CREATE, "two").0, 412);
    assert_eq!(ask(&store, "GET", "/lake/a%2Fb", "", "").2, "one");
    assert_eq!(ask(&store, "PUT", "/lake/a%2Fb", "", "three").0, 200);
    assert_eq!(ask(&store, "DELETE", "/lake/a%2Fb", "", "").0, 204);
    assert_eq!(ask(&store, "DELETE", "/lake/a%2Fb", "", "").0, 404);
    let winners = std::thread::scope(|scope| {
        let put = || ask(&store, "PUT", "/lake/raced", CREATE, "x").0;
        let all: Vec<_> = (0..8).map(|_| scope.spawn(put)).collect();
        all.into_iter().map(|one| one.join().unwrap()).filter(|status| *status == 200).count()
    });
    assert_eq!(winners, 1);
}

#[test]
fn parts_of_objects_are_read_and_written() {
    let store = Gcs::start().unwrap();
    ask(&store, "PUT", "/lake/x", "", "0123456789");
    for (range, status, body) in [("3-4", 206, "34"), ("8-20", 206, "89"), ("8-", 206, "89"), ("-3", 206, "789")] {
        let answer = ask(&store, "GET", "/lake/x", &format!("Range: bytes={range}\r\n"), "");
        assert_eq!((answer.0, answer.2.as_str()), (status, body), "{range}");
    }
    assert_eq!(ask(&store, "GET", "/lake/x", "Range: bytes=10-11\r\n", "").0, 416);
    let head = ask(&store, "HEAD", "/lake/x", "", "");
    assert!(head.1.contains("Content-Length: 10") && head.2.is_empty(), "{head:?}");
    let begun = ask(&store, "POST", "/lake/y?uploads=", "", "").2;
    let id = begun.split("UploadId>").nth(1).unwrap().strip_suffix("</").unwrap();
    let mut list = String::new();
    for (number, content) in [(2, "world"), (1, "hello ")] {
        let (status, head, _) = ask(&store, "PUT", &format!("/lake/y?partNumber={number}&uploadId={id}"), "", content);
        let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap();
        assert_eq!(status, 200);
        list.push_str(&format!("<Part><ETag>{tag}</ETag><PartNumber>{number}</PartNumber></Part>"));
    }
    assert_eq!(ask(&store, "GET", "/lake/y", "", "").0, 404, "not before its end");
    assert_eq!(ask(&store, "POST", &format!("/lake/y?uploadId={id}"), "", "<Part></Part>").0, 400);
    assert_eq!(ask(&store, "POST", &format!("/lake/y?uploadId={id}"), "", &list).0, 200);
    assert_eq!(ask(&store, "GET", "/lake/y", "", "").2, "hello world");
}

#[test]
fn listings_have_pages() {
    let store = Gcs::start().unwrap();
    for n in 0..120 {
        ask(&store, "PUT", &format!("/lake/t%2F{n:03}"), "", "x");
    }
    for key in ["t%2Fdeep%2F1", "t%2Fdeep%2F2", "u"] {
        ask(&store, "PUT", &format!("/lake/{key}"), "", "x");
    }
    let listed = |query: &str| {
        let (mut keys, mut prefixes, mut token, mut pages) = (Vec::new(), 0, String::new(), 0);
        loop {
            let page = ask(&store, "GET", &format!("/lake?list-type=2&{query}{token}"), "", "").2;
            pages += 1;
            keys.extend(page.split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()));
            prefixes += page.matches("<Prefix>").count();
            match page.split("<NextContinuationToken>").nth(1) {
                Some(next) => token = format!("&continuation-token={}", next.split('<').next().unwrap()),
                None => return (keys, prefixes, pages),
            }
        }
    };
    let (keys, _, pages) = listed("prefix=t%2F");
    assert_eq!((keys.len(), pages), (122, 3));
    assert!(keys.is_sorted());
    assert_eq!(listed("prefix=t%2F&start-after=t%2F117").0, ["t/118", "t/119", "t/deep/1", "t/deep/2"]);
    let (keys, prefixes, _) = listed("prefix=t%2F&delimiter=%2F");
    assert_eq!((keys.len(), prefixes), (120, 1));
}

#[test]
fn dates_are_those_of_the_calendar() {
    for (seconds, long, short) in [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"),
        (1_709_210_096, "Thu, 29 Feb 2024 12:34:56 GMT", "2024-02-29T12:34:56.000Z"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT", "2026-12-31T23:59:59.000Z"),
    ] {
        let dates = wire::dates(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!((dates.0.as_str(), dates.1.as_str()), (long, short));
    }
}

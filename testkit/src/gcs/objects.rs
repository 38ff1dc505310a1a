//! The objects of the stand-in for Google's store: generations, conditions, ranges, listings, uploads in parts. Knows
//! requests and answers, no sockets.

use super::wire::{Answer, Request, dates};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::ops::Bound;
use std::time::SystemTime;

/// Most names in one answer: few, so that listings have several pages.
const PAGE: usize = 50;

/// Everything that is stored.
#[derive(Debug, Default)]
pub(super) struct Objects {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<String, Upload>,
    /// Given out so far, to objects and to uploads.
    generation: u64,
}

#[derive(Debug)]
pub(super) struct Object {
    content: Vec<u8>,
    generation: u64,
    modified: SystemTime,
}

#[derive(Debug)]
struct Upload {
    key: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Object {
    fn tag(&self) -> String {
        format!("\"{}\"", self.generation)
    }

    fn headers(&self, answer: Answer) -> Answer {
        answer
            .with("ETag", self.tag())
            .with("x-goog-generation", self.generation.to_string())
            .with("Last-Modified", dates(self.modified).0)
    }
}

impl Objects {
    /// Does what is asked of the object `key`, of the bucket when that is empty.
    pub(super) fn answer(&mut self, request: &Request, key: &str) -> Answer {
        let upload = request.query.get("uploadId");
        match (request.method.as_str(), upload) {
            ("GET", None) if key.is_empty() => self.list(request),
            ("GET" | "HEAD", None) => self.get(request, key),
            ("PUT", None) if !request.headers.contains_key("x-goog-copy-source") => self.put(request, key),
            ("PUT", Some(id)) => self.put_part(request, id, key),
            ("POST", None) if request.query.contains_key("uploads") => self.begin(key),
            ("POST", Some(id)) => self.complete(request, id, key),
            ("DELETE", None) => match self.objects.remove(key) {
                Some(_) => Answer::new(204, ""),
                None => Answer::error(404, "NoSuchKey"),
            },
            ("DELETE", Some(id)) => match self.uploads.remove(id) {
                Some(_) => Answer::new(204, ""),
                None => Answer::error(404, "NoSuchUpload"),
            },
            _ => Answer::error(501, "NotImplemented"),
        }
    }

    fn put(&mut self, request: &Request, key: &str) -> Answer {
        let there = self.objects.get(key).map_or(0, |object| object.generation);
        if request.headers.get("x-goog-if-generation-match").is_some_and(|wanted| *wanted != there.to_string()) {
            return Answer::error(412, "PreconditionFailed");
        }
        let object = self.store(key, request.body.clone());
        object.headers(Answer::new(200, ""))
    }

    /// Names that begin so, sorted.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let from = self.objects.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from.map(|(key, _)| key.clone()).take_while(|key| key.starts_with(prefix)).collect()
    }

    pub(super) fn content(&self, key: &str) -> Option<&[u8]> {
        self.objects.get(key).map(|object| object.content.as_slice())
    }

    pub(super) fn take(&mut self, key: &str) -> Option<Vec<u8>> {
        self.objects.remove(key).map(|object| object.content)
    }

    pub(super) fn store(&mut self, key: &str, content: Vec<u8>) -> &Object {
        self.generation += 1;
        let object = Object { content, generation: self.generation, modified: SystemTime::now() };
        self.objects.entry(key.to_owned()).insert_entry(object).into_mut()
    }

    fn get(&self, request: &Request, key: &str) -> Answer {
        let Some(object) = self.objects.get(key) else { return Answer::error(404, "NoSuchKey") };
        let Some(range) = request.headers.get("range") else {
            return object.headers(Answer::new(200, object.content.clone()));
        };
        let length = object.content.len();
        match bounds(range, length).and_then(|(from, end)| Some((from, end, object.content.get(from..end)?))) {
            Some((from, end, part)) if from < end => object
                .headers(Answer::new(206, part))
                .with("Content-Range", format!("bytes {from}-{}/{length}", end - 1)),
            _ => Answer::error(416, "InvalidRange"),
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let ask = |name: &str| request.query.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (ask("prefix"), ask("delimiter"));
        let after = ask("start-after").max(ask("continuation-token"));
        let mut names = BTreeSet::new();
        let mut page = String::new();
        let mut next = None;
        let begin = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let there = self.objects.range::<str, _>((begin, Bound::Unbounded));
        for (key, object) in there.take_while(|(key, _)| key.starts_with(prefix)) {
            let rest = key.get(prefix.len()..).unwrap_or_default();
            let folder = rest.split_once(delimiter).filter(|_| !delimiter.is_empty());
            let folder = folder.map(|(folder, _)| format!("{prefix}{folder}{delimiter}"));
            if names.len() == PAGE && folder.as_ref().is_none_or(|folder| !names.contains(folder)) {
                page.push_str("<IsTruncated>true</IsTruncated>");
                break;
            }
            next = Some(key);
            match folder {
                Some(folder) if names.contains(&folder) => {}
                Some(folder) => {
                    // Writing into a text cannot fail.
                    let _ = write!(page, "<CommonPrefixes><Prefix>{}</Prefix></CommonPrefixes>", escape(&folder));
                    names.insert(folder);
                }
                None => {
                    let (size, tag, date) = (object.content.len(), object.tag(), dates(object.modified).1);
                    let _ = write!(
                        page,
                        "<Contents><Key>{}</Key><Size>{size}</Size><ETag>{tag}</ETag><LastModified>{date}</LastModified></Contents>",
                        escape(key),
                    );
                    names.insert(key.clone());
                }
            }
        }
        if let Some(next) = next.filter(|_| page.ends_with("</IsTruncated>")) {
            let _ = write!(page, "<NextContinuationToken>{}</NextContinuationToken>", escape(next));
        }
        Answer::new(200, format!("<?xml version='1.0' encoding='UTF-8'?><ListBucketResult>{page}</ListBucketResult>"))
    }

    fn begin(&mut self, key: &str) -> Answer {
        self.generation += 1;
        let id = format!("upload-{}", self.generation);
        self.uploads.insert(id.clone(), Upload { key: key.to_owned(), parts: BTreeMap::new() });
        Answer::new(
            200,
            format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"),
        )
    }

    fn put_part(&mut self, request: &Request, id: &str, key: &str) -> Answer {
        let Some(upload) = self.uploads.get_mut(id).filter(|upload| upload.key == key) else {
            return Answer::error(404, "NoSuchUpload");
        };
        let Some(part) = request.query.get("partNumber").and_then(|part| part.parse().ok()) else {
            return Answer::error(400, "InvalidArgument");
        };
        upload.parts.insert(part, request.body.clone());
        Answer::new(200, "").with("ETag", format!("\"{id}-{part}\""))
    }

    fn complete(&mut self, request: &Request, id: &str, key: &str) -> Answer {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.key == key) else {
            return Answer::error(404, "NoSuchUpload");
        };
        // Each part by its number and the tag that it was answered with.
        let asked = String::from_utf8_lossy(&request.body);
        let listed = |part: &u32| {
            asked.contains(&format!("<PartNumber>{part}</PartNumber>")) && asked.contains(&format!("{id}-{part}\""))
        };
        if asked.matches("<PartNumber>").count() != upload.parts.len() || !upload.parts.keys().all(listed) {
            return Answer::error(400, "InvalidPart");
        }
        let content = upload.parts.values().flatten().copied().collect();
        self.uploads.remove(id);
        let object = self.store(key, content);
        let tag = object.tag();
        let body = format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>");
        object.headers(Answer::new(200, body))
    }
}

/// The bytes that `bytes=1-2`, `bytes=1-` or `bytes=-2` mean, within so many.
fn bounds(range: &str, length: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    match (from, to) {
        ("", last) => Some((length.saturating_sub(last.parse().ok()?), length)),
        (from, "") => Some((from.parse().ok()?, length)),
        (from, to) => Some((from.parse().ok()?, length.min(to.parse::<usize>().ok()?.saturating_add(1)))),
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

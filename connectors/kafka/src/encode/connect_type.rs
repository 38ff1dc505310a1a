//! Kafka Connect's type words and the JSON of a schema, in the member order of Connect's own converter:
//! `type`, `fields` or `items`, `optional`, `name`, `version`, `doc`, `parameters`, `default`, `field`.

use super::json::{write_name, write_string};
use std::sync::Arc;

/// A type in Connect's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConnectType {
    word: &'static str,
    /// `"fields":[...]` or `"items":{...}`, if it has parts.
    parts: String,
    name: String,
    version: u8,
    doc: &'static str,
    parameters: Vec<(&'static str, String)>,
}

impl ConnectType {
    /// A type without a name.
    pub(crate) fn plain(word: &'static str) -> ConnectType {
        let (parts, name) = (String::new(), String::new());
        ConnectType { word, parts, name, version: 0, doc: "", parameters: Vec::new() }
    }

    /// A named type of version 1.
    pub(crate) fn named(word: &'static str, name: &str) -> ConnectType {
        ConnectType { name: name.to_owned(), version: 1, ..ConnectType::plain(word) }
    }

    /// A struct from its rendered fields; version 0 stands for none.
    pub(crate) fn structure(name: &str, version: u8, fields: &[String]) -> ConnectType {
        let parts = format!("\"fields\":[{}]", fields.join(","));
        ConnectType { parts, version, ..ConnectType::named("struct", name) }
    }

    /// An array.
    pub(crate) fn array(element: &ConnectType, optional: bool) -> ConnectType {
        ConnectType { parts: format!("\"items\":{}", element.schema(optional, None, None)), ..Self::plain("array") }
    }

    /// Text out of a list of labels.
    pub(crate) fn labels(name: &str, labels: &[Arc<str>]) -> ConnectType {
        let joined: Vec<&str> = labels.iter().map(|label| &**label).collect();
        ConnectType { parameters: vec![("allowed", joined.join(","))], ..Self::named("string", name) }
    }

    /// A decimal of a fixed scale.
    pub(crate) fn decimal(precision: Option<u32>, scale: i32) -> ConnectType {
        let mut parameters = vec![("scale", scale.to_string())];
        parameters.extend(precision.map(|precision| ("connect.decimal.precision", precision.to_string())));
        ConnectType { parameters, ..Self::named("bytes", "org.apache.kafka.connect.data.Decimal") }
    }

    /// A decimal that tells its scale.
    pub(crate) fn variable_decimal() -> ConnectType {
        let fields = [field("int32", false, "scale"), field("bytes", false, "value")];
        ConnectType {
            doc: "Variable scaled decimal",
            ..Self::structure("io.debezium.data.VariableScaleDecimal", 1, &fields)
        }
    }

    /// Bits of a declared length.
    pub(crate) fn bits(length: u32) -> ConnectType {
        let parameters = vec![("length", length.to_string())];
        ConnectType { parameters, ..Self::named("bytes", "io.debezium.data.Bits") }
    }

    /// A point.
    pub(crate) fn point() -> ConnectType {
        let fields = [
            field("double", false, "x"),
            field("double", false, "y"),
            field("bytes", true, "wkb"),
            field("int32", true, "srid"),
        ];
        ConnectType { doc: "Geometry (POINT)", ..Self::structure("io.debezium.data.geometry.Point", 1, &fields) }
    }

    /// Any other geometry.
    pub(crate) fn geometry() -> ConnectType {
        let fields = [field("bytes", false, "wkb"), field("int32", true, "srid")];
        ConnectType { doc: "Geometry", ..Self::structure("io.debezium.data.geometry.Geometry", 1, &fields) }
    }

    /// A vector of single floats.
    pub(crate) fn float_vector() -> ConnectType {
        ConnectType {
            name: "io.debezium.data.FloatVector".to_owned(),
            version: 1,
            ..Self::array(&Self::plain("float"), false)
        }
    }

    /// Whether this is a list of UUIDs.
    pub(crate) fn holds_uuids(&self) -> bool {
        self.word == "array" && self.parts.contains("io.debezium.data.Uuid")
    }

    /// The schema's JSON; `default` is JSON itself, `field` the name within a struct.
    pub(crate) fn schema(&self, optional: bool, default: Option<&[u8]>, field: Option<&str>) -> String {
        let mut out = Vec::new();
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(self.word.as_bytes());
        out.push(b'"');
        if !self.parts.is_empty() {
            out.push(b',');
            out.extend_from_slice(self.parts.as_bytes());
        }
        out.extend_from_slice(if optional { b",\"optional\":true" } else { b",\"optional\":false" });
        if !self.name.is_empty() {
            out.extend_from_slice(b",\"name\":");
            write_string(&mut out, self.name.as_bytes());
        }
        if self.version > 0 {
            out.extend_from_slice(format!(",\"version\":{}", self.version).as_bytes());
        }
        if !self.doc.is_empty() {
            out.extend_from_slice(b",\"doc\":");
            write_string(&mut out, self.doc.as_bytes());
        }
        self.write_parameters(&mut out);
        if let Some(default) = default {
            out.extend_from_slice(b",\"default\":");
            out.extend_from_slice(default);
        }
        if let Some(field) = field {
            out.extend_from_slice(b",\"field\":");
            write_string(&mut out, field.as_bytes());
        }
        out.push(b'}');
        // Built from text only, so this never replaces anything.
        String::from_utf8_lossy(&out).into_owned()
    }

    fn write_parameters(&self, out: &mut Vec<u8>) {
        for (index, (key, value)) in self.parameters.iter().enumerate() {
            out.extend_from_slice(if index == 0 { b",\"parameters\":{" } else { b"," });
            write_name(out, key);
            write_string(out, value.as_bytes());
        }
        if !self.parameters.is_empty() {
            out.push(b'}');
        }
    }
}

/// A struct's field of a type without a name.
pub(crate) fn field(word: &'static str, optional: bool, name: &str) -> String {
    ConnectType::plain(word).schema(optional, None, Some(name))
}

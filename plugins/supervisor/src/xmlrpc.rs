//! XML-RPC 1.0, as much of it as supervisord speaks: a call as text, and an
//! answer as a value or a fault.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::Event;

/// Deeper than any answer of supervisord's; guards the stack.
const MAX_DEPTH: usize = 32;

/// A value of XML-RPC.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Int(i64),
    Bool(bool),
    Double(f64),
    Text(String),
    Array(Vec<Value>),
    Struct(BTreeMap<String, Value>),
    Nil,
}

/// A call that the other side refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) code: i64,
    pub(crate) text: String,
}

/// The answer is not XML-RPC; says where.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Malformed(pub(crate) String);

/// A call as an XML document.
pub(crate) fn call(method: &str, params: &[Value]) -> String {
    let mut xml =
        format!("<?xml version=\"1.0\"?><methodCall><methodName>{}</methodName><params>", escape(method));
    for param in params {
        xml.push_str("<param>");
        write_value(param, &mut xml);
        xml.push_str("</param>");
    }
    xml.push_str("</params></methodCall>");
    xml
}

fn write_value(value: &Value, xml: &mut String) {
    xml.push_str("<value>");
    // Writing to a string cannot fail.
    let _ = match value {
        Value::Int(n) => write!(xml, "<int>{n}</int>"),
        Value::Bool(b) => write!(xml, "<boolean>{}</boolean>", i32::from(*b)),
        Value::Double(d) => write!(xml, "<double>{d}</double>"),
        Value::Text(text) => write!(xml, "<string>{}</string>", escape(text.as_str())),
        Value::Nil => write!(xml, "<nil/>"),
        Value::Array(items) => {
            xml.push_str("<array><data>");
            for item in items {
                write_value(item, xml);
            }
            write!(xml, "</data></array>")
        }
        Value::Struct(members) => {
            xml.push_str("<struct>");
            for (name, member) in members {
                let _ = write!(xml, "<member><name>{}</name>", escape(name.as_str()));
                write_value(member, xml);
                xml.push_str("</member>");
            }
            write!(xml, "</struct>")
        }
    };
    xml.push_str("</value>");
}

/// The value or the fault in a `methodResponse`.
pub(crate) fn answer(xml: &str) -> Result<Result<Value, Fault>, Malformed> {
    let root = document(xml)?;
    if root.name != "methodResponse" {
        return Err(Malformed(format!("<{}> in place of <methodResponse>", root.name)));
    }
    let [content] = root.children.as_slice() else {
        return Err(Malformed("not one thing in the response".into()));
    };
    match content.name.as_str() {
        "params" => Ok(Ok(value(content.only("param")?.only("value")?)?)),
        "fault" => fault(&value(content.only("value")?)?).map(Err),
        other => Err(Malformed(format!("<{other}> in the response"))),
    }
}

fn fault(value: &Value) -> Result<Fault, Malformed> {
    let Value::Struct(members) = value else { return Err(Malformed("a fault that is no struct".into())) };
    match (members.get("faultCode"), members.get("faultString")) {
        (Some(Value::Int(code)), Some(Value::Text(text))) => Ok(Fault { code: *code, text: text.clone() }),
        _ => Err(Malformed("a fault without code and string".into())),
    }
}

/// An element with its own text; where there are children, text is only the
/// space between them.
#[derive(Debug, Default)]
struct Element {
    name: String,
    children: Vec<Element>,
    text: String,
}

impl Element {
    fn only(&self, name: &str) -> Result<&Self, Malformed> {
        match self.children.as_slice() {
            [child] if child.name == name => Ok(child),
            _ => Err(Malformed(format!("not one <{name}> in <{}>", self.name))),
        }
    }
}

fn value(element: &Element) -> Result<Value, Malformed> {
    // A value without a type is a string.
    let Some(typed) = element.children.first() else { return Ok(Value::Text(element.text.clone())) };
    let text = typed.text.as_str();
    let bad = || Malformed(format!("<{}>{text}", typed.name));
    match typed.name.as_str() {
        "int" | "i4" | "i8" => text.trim().parse().map(Value::Int).map_err(|_| bad()),
        "double" => text.trim().parse().map(Value::Double).map_err(|_| bad()),
        "boolean" => match text.trim() {
            "0" => Ok(Value::Bool(false)),
            "1" => Ok(Value::Bool(true)),
            _ => Err(bad()),
        },
        // Dates and binary data are kept as they are written: nothing here reads them.
        "string" | "dateTime.iso8601" | "base64" => Ok(Value::Text(text.to_owned())),
        "nil" => Ok(Value::Nil),
        "array" => {
            let items = typed.only("data")?.children.iter().map(value);
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        "struct" => typed.children.iter().map(member).collect::<Result<_, _>>().map(Value::Struct),
        _ => Err(bad()),
    }
}

fn member(element: &Element) -> Result<(String, Value), Malformed> {
    match element.children.as_slice() {
        [name, content] if name.name == "name" && content.name == "value" => {
            Ok((name.text.clone(), value(content)?))
        }
        _ => Err(Malformed("a member without name and value".into())),
    }
}

/// The document's root element.
fn document(xml: &str) -> Result<Element, Malformed> {
    let mut reader = Reader::from_str(xml);
    // The last one is the innermost open element; the first stands for the document.
    let mut open = vec![Element::default()];
    loop {
        let event = reader.read_event().map_err(|cause| Malformed(cause.to_string()))?;
        let depth = open.len();
        let top = open.last_mut().ok_or_else(|| Malformed("an element too many is closed".into()))?;
        match event {
            Event::Start(tag) if depth < MAX_DEPTH => {
                open.push(Element {
                    name: AsRef::<str>::as_ref(&tag.name()).to_owned(),
                    ..Element::default()
                });
            }
            Event::Start(_) => return Err(Malformed("nested too deeply".into())),
            Event::Empty(tag) => {
                top.children.push(Element {
                    name: AsRef::<str>::as_ref(&tag.name()).to_owned(),
                    ..Element::default()
                });
            }
            Event::End(_) => {
                let closed = open.pop().unwrap_or_default();
                let Some(parent) = open.last_mut() else { return Err(Malformed("not balanced".into())) };
                parent.children.push(closed);
            }
            Event::Text(text) => top.text.push_str(&text.xml10_content()),
            Event::CData(text) => top.text.push_str(&text.xml10_content()),
            Event::GeneralRef(entity) => match entity.resolve_char_ref() {
                Ok(Some(c)) => top.text.push(c),
                Ok(None) => top.text.push_str(predefined(&entity)?),
                Err(cause) => return Err(Malformed(cause.to_string())),
            },
            // No entities but the predefined ones: nothing can grow while it is read.
            Event::DocType(_) => return Err(Malformed("a document type".into())),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(mut document), true) if document.children.len() == 1 => Ok(document.children.remove(0)),
        _ => Err(Malformed("not one whole element".into())),
    }
}

fn predefined(entity: &str) -> Result<&'static str, Malformed> {
    resolve_predefined_entity(entity).ok_or_else(|| Malformed(format!("entity {entity}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(s: &str) -> Value {
        Value::Text(s.to_owned())
    }

    #[test]
    fn a_call_is_escaped() {
        assert_eq!(
            call("supervisor.startProcess", &[text("a<b>&\"c"), Value::Bool(false)]),
            "<?xml version=\"1.0\"?><methodCall><methodName>supervisor.startProcess</methodName><params>\
             <param><value><string>a&lt;b&gt;&amp;&quot;c</string></value></param>\
             <param><value><boolean>0</boolean></value></param></params></methodCall>"
        );
    }

    #[test]
    fn every_kind_of_value_survives_the_way() {
        let member = |name: &str, value| (name.to_owned(), value);
        let all = Value::Struct(BTreeMap::from([
            member("a & b", Value::Array(vec![Value::Int(-7), Value::Bool(true), Value::Nil, text(" <x> ")])),
            member("d", Value::Double(1.5)),
            member("empty", Value::Array(vec![])),
        ]));
        let sent = call("m", std::slice::from_ref(&all));
        let params =
            sent.split_once("<params>").and_then(|(_, rest)| rest.split_once("</params>")).unwrap().0;
        let received = format!("<methodResponse><params>{params}</params></methodResponse>");
        assert_eq!(answer(&received), Ok(Ok(all)));
    }

    #[test]
    fn reads_what_supervisord_writes() {
        let xml = "<?xml version='1.0'?>\n<methodResponse>\n<params>\n<param>\n<value><array><data>\n\
            <value><struct>\n<member>\n<name>name</name>\n<value><string>web_00</string></value>\n</member>\n\
            <member><name>description</name><value>a &lt;b&gt; &#233;<![CDATA[&c]]></value></member>\n\
            </struct></value>\n</data></array></value>\n</param>\n</params>\n</methodResponse>\n";
        let Ok(Ok(Value::Array(items))) = answer(xml) else { panic!("{:?}", answer(xml)) };
        let Value::Struct(members) = &items[0] else { panic!("{items:?}") };
        assert_eq!((&members["name"], &members["description"]), (&text("web_00"), &text("a <b> é&c")));
    }

    #[test]
    fn a_fault_comes_with_code_and_text() {
        let xml = "<methodResponse><fault><value><struct><member><name>faultCode</name><value><int>10</int></value>\
            </member><member><name>faultString</name><value><string>BAD_NAME: x</string></value></member></struct>\
            </value></fault></methodResponse>";
        assert_eq!(answer(xml), Ok(Err(Fault { code: 10, text: "BAD_NAME: x".into() })));
    }

    #[test]
    fn what_is_not_xml_rpc_is_refused() {
        let deep = format!("{}{}", "<a>".repeat(100), "</a>".repeat(100));
        let bomb = "<!DOCTYPE a [<!ENTITY b 'c'>]><methodResponse/>";
        let unknown = "<methodResponse><params><param><value>&b;</value></param></params></methodResponse>";
        let huge = "<methodResponse><params><param><value><int>99999999999999999999</int></value></param></params>\
            </methodResponse>";
        for xml in [
            "",
            "x",
            "<a>",
            "</a>",
            "<methodResponse/>",
            "<html></html>",
            "<a/><b/>",
            "<a></b>",
            &deep,
            bomb,
            unknown,
            huge,
        ] {
            assert!(answer(xml).is_err(), "{xml:.80}");
        }
    }
}

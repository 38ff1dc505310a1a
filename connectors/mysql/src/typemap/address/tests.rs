use super::super::tests::{builder, show};
use super::*;

fn text(
    made: impl Fn(&[u8], &mut BatchBuilder) -> Result<Cell, ValueError>,
    bytes: &[u8],
) -> Result<String, ValueError> {
    let mut builder = builder();
    let cell = made(bytes, &mut builder)?;
    let batch = builder.finish(None, true, 0);
    Ok(show(cell.value(batch.arena())))
}

/// MY-75: zeros at the end are not in the log.
#[test]
fn missing_bytes_are_zeros() {
    assert_eq!(text(uuid, b"").unwrap(), "00000000-0000-0000-0000-000000000000");
    assert_eq!(text(uuid, b"\x01\x8f\x4e\x3c\x7b\x2a\x7c\x00\x80").unwrap(), "018f4e3c-7b2a-7c00-8000-000000000000");
    assert_eq!(text(inet4, b"\x0a").unwrap(), "10.0.0.0");
    assert_eq!(text(inet6, b"\x00\x01").unwrap(), "1::");
    for made in [uuid, inet6] {
        assert!(text(made, &[1; 17]).is_err());
    }
    assert!(text(inet4, &[1; 5]).is_err());
}

#[test]
fn only_canonical_uuids_are_taken_from_results() {
    let good = "123e4567-e89b-12d3-a456-426655440000";
    assert_eq!(text(uuid_text, good.as_bytes()).unwrap(), good);
    for bad in [
        "",
        "123E4567-e89b-12d3-a456-426655440000",
        "123e4567e-89b-12d3-a456-426655440000",
        "23e4567-e89b-12d3-a456-426655440000",
    ] {
        assert!(text(uuid_text, bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn groups_are_written_as_the_server_writes_them() {
    let address = |groups: [u16; 8]| text(inet6, &groups.map(u16::to_be_bytes).concat()).unwrap();
    for (groups, expect) in [
        ([0; 8], "::"),
        ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
        ([0, 0, 0, 0, 0, 0, 1, 2], "::0.1.0.2"),
        ([0, 0, 0, 0, 0, 0xffff, 0x102, 0x304], "::ffff:1.2.3.4"),
        ([0, 0, 0, 0, 0, 0xfffe, 0x102, 0x304], "::fffe:102:304"),
        ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
        ([1, 0, 3, 4, 5, 6, 7, 8], "1::3:4:5:6:7:8"),
        ([1, 2, 3, 4, 5, 6, 7, 0xabcd], "1:2:3:4:5:6:7:abcd"),
        ([1, 2, 3, 4, 5, 6, 0, 0], "1:2:3:4:5:6::"),
    ] {
        assert_eq!(address(groups), expect);
    }
}

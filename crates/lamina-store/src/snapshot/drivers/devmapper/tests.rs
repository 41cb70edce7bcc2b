use lamina_core::Kind as ErrorKind;

use super::*;

fn refused(config: &Config) -> OpenError {
    let dir = tempfile::tempdir().unwrap();
    Devmapper::open(&dir.path().join("root"), config).unwrap_err()
}

fn config() -> Config {
    Config {
        pool_name: "lamina-no-such-pool".to_owned(),
        base_image_size: "64MB".to_owned(),
        ..Config::default()
    }
}

#[test]
fn without_a_pool_it_is_skipped() {
    let OpenError::Skip(why) = refused(&Config::default()) else { panic!("not skipped") };
    assert!(why.contains("pool_name"), "{why}");
}

#[test]
fn a_pool_that_is_not_there_is_an_error() {
    let OpenError::Failed(error) = refused(&config()) else { panic!("skipped") };
    assert!(error.chain().contains("lamina-no-such-pool"), "{}", error.chain());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    for config in [
        Config { base_image_size: String::new(), ..config() },
        Config { base_image_size: "big".to_owned(), ..config() },
        Config { fs_type: "ext3".to_owned(), ..config() },
    ] {
        let OpenError::Failed(error) = refused(&config) else { panic!("skipped") };
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{config:?}");
    }
}

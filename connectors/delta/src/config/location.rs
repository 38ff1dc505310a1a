//! Where the tables lie, and which settings the store there knows: of a misspelt one nothing would be heard, and another
//! credential, or none, be taken in its place.

use deltalake::aws::constants;
use deltalake::logstore::StorageConfig;
use object_store::aws::AmazonS3ConfigKey;
use object_store::azure::AzureConfigKey;
use object_store::gcp::GoogleConfigKey;
use std::str::FromStr;
use url::Url;

const LOCATION_FORMS: &str = "file:///path, s3://bucket/prefix, az://container/prefix, abfss://container@account.dfs.core.windows.net/prefix or \
     gs://bucket/prefix";

/// The location that a text names.
pub(super) fn parse(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|_| format!("`{text}` is no URL: write {LOCATION_FORMS}"))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "file" if url.to_file_path().is_ok_and(|path| path.parent().is_some()) => Ok(url),
        "file" => Err(format!("`{text}` must name a directory below the root, as in file:///srv/lake")),
        "s3" | "s3a" | "gs" if !host.is_empty() => Ok(url),
        "s3" | "s3a" | "gs" => Err(format!("`{text}` names no bucket")),
        // The host is the container's name, which has no dot, or the account's address behind the container.
        "az" | "abfs" | "abfss" if !host.is_empty() && url.username().is_empty() != host.contains('.') => Ok(url),
        "az" | "abfs" | "abfss" => Err(format!(
            "`{text}` names no container: write az://container/prefix or \
             abfss://container@account.dfs.core.windows.net/prefix"
        )),
        other => Err(format!("`{other}` locations are not available: write {LOCATION_FORMS}")),
    }
}

/// Settings of delta-rs for S3 that it lists nowhere.
const S3_MORE: &[&str] = &[
    constants::AWS_ENDPOINT_URL_DYNAMODB,
    constants::AWS_REGION_DYNAMODB,
    constants::AWS_ACCESS_KEY_ID_DYNAMODB,
    constants::AWS_SECRET_ACCESS_KEY_DYNAMODB,
    constants::AWS_SESSION_TOKEN_DYNAMODB,
    constants::AWS_S3_ADDRESSING_STYLE,
    constants::AWS_ALLOW_HTTP,
    constants::AWS_FORCE_CREDENTIAL_LOAD,
    // Refused when the store is opened, with the reason.
    constants::AWS_S3_ALLOW_UNSAFE_RENAME,
    "allow_unsafe_rename",
];

/// The settings that the store of a location does not know, each with what is wrong.
pub(super) fn unknown<'a>(
    location: &Url,
    keys: impl Iterator<Item = &'a String>,
) -> impl Iterator<Item = (&'a String, String)> {
    keys.filter_map(move |key| Some((key, amiss(location, key)?)))
}

/// What is wrong with a setting's name; `None`: the store knows it.
fn amiss(location: &Url, key: &str) -> Option<String> {
    let lower = key.to_ascii_lowercase();
    let (knows, some) = match location.scheme() {
        "file" => return Some("a local location takes no settings: they are for buckets and containers".to_owned()),
        "s3" | "s3a" => {
            let knows = AmazonS3ConfigKey::from_str(&lower).is_ok()
                || constants::S3_OPTS.iter().chain(S3_MORE).any(|known| known.eq_ignore_ascii_case(key));
            (knows, "`aws_region`, `aws_access_key_id`, `aws_secret_access_key`, `aws_session_token`, `aws_endpoint`")
        }
        "gs" => (
            GoogleConfigKey::from_str(&lower).is_ok(),
            "`google_service_account`, `google_service_account_key`, `google_application_credentials`",
        ),
        _ => (
            AzureConfigKey::from_str(&lower).is_ok(),
            "`azure_storage_account_name`, `azure_storage_account_key`, `azure_storage_sas_key`, `azure_client_id`, `azure_tenant_id`, \
             `azure_client_secret`",
        ),
    };
    (!knows && !is_of_every_store(key))
        .then(|| format!("the store of this location knows no such setting; it takes {some} and others of delta-rs"))
}

/// Whether it says how requests are sent: what delta-rs takes for itself is not left over.
fn is_of_every_store(key: &str) -> bool {
    StorageConfig::from_iter([(key, "")]).unknown_properties.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_one_of_its_store() {
        for (location, key, is_known) in [
            ("s3://lake", "aws_access_key_id", true),
            ("s3://lake", "AWS_ACCESS_KEY_ID", true),
            ("s3a://lake", "access_key_id", true),
            ("s3://lake", "aws_endpoint_url", true),
            ("s3://lake", "aws_allow_http", true),
            ("s3://lake", "allow_http", true),
            ("s3://lake", "timeout", true),
            ("s3://lake", "aws_profile", true),
            ("s3://lake", "aws_iam_role_arn", true),
            ("s3://lake", "aws_force_credential_load", true),
            ("s3://lake", "aws_s3_allow_unsafe_rename", true),
            ("s3://lake", "allow_unsafe_rename", true),
            ("s3://lake", "max_retries", true),
            ("s3://lake", "backoff_config.max_backoff", true),
            ("s3://lake", "concurrency_limit", true),
            ("s3://lake", "certificate_path", true),
            ("s3://lake", "aws_acces_key_id", false),
            ("s3://lake", "aws_secret_key", false),
            ("s3://lake", "azure_storage_account_name", false),
            ("az://lake", "azure_storage_account_name", true),
            ("az://lake", "azure_storage_endpoint", true),
            ("az://lake", "azure_allow_http", true),
            ("abfss://lake@a.dfs.core.windows.net", "account_key", true),
            ("abfs://lake", "azure_federated_token_file", true),
            ("az://lake", "azure_storage_acount_name", false),
            ("az://lake", "aws_region", false),
            ("gs://lake", "google_service_account_key", true),
            ("gs://lake", "GOOGLE_APPLICATION_CREDENTIALS", true),
            ("gs://lake", "google_service_acount", false),
            ("file:///srv/lake", "aws_region", false),
            ("file:///srv/lake", "timeout", false),
        ] {
            let told = amiss(&Url::parse(location).unwrap(), key);
            assert_eq!(told.is_none(), is_known, "{location} {key}: {told:?}");
        }
    }

    #[test]
    fn locations() {
        for (text, good) in [
            ("file:///srv/lake", true),
            ("s3://bucket", true),
            ("s3://bucket/a/b", true),
            ("s3:///a/b", false),
            ("gs://bucket", true),
            ("gs://bucket.of.a.domain/a/b", true),
            ("gs:///a", false),
            ("az://container/a/b", true),
            ("abfs://container/a", true),
            ("abfss://container@account.dfs.core.windows.net/a", true),
            ("az://container@account.blob.core.windows.net/a", true),
            ("az://account.blob.core.windows.net/container", false),
            ("abfss://container@account/a", false),
            ("az:///a", false),
            ("adl://store/a", false),
            ("file:///", false),
            ("/srv/lake", false),
            ("https://x/y", false),
        ] {
            assert_eq!(parse(text).is_ok(), good, "{text}");
        }
    }
}

//! Connections that break, servers that lie, disks that are full.

use std::fs;
use std::time::Duration;

use t81_hub::{RemoteError, RepoId};

use super::{Place, Recorder, dataset, model, noise, remote, tree};
use crate::hub_server::{Fault, HubServer, Repo};

const FILE: &str = "model.safetensors";
const SIZE: usize = 3_000_000;

fn place() -> (Place, RepoId, String) {
    let place = Place::new();
    let repo = Repo::model("owner/name")
        .file(FILE, noise(SIZE))
        .file("small.txt", noise(5000));
    let blob = format!("models--owner--name/blobs/{}", repo.hash_of(FILE));
    place.server.add(repo);
    (place, model("owner/name"), blob)
}

/// Where each request for the file's bytes began.
fn starts(server: &HubServer) -> Vec<usize> {
    server
        .bodies(FILE)
        .iter()
        .map(|request| request.start())
        .collect()
}

#[test]
fn a_cut_connection_is_taken_up_where_it_broke() {
    let (place, repo, _) = place();
    place.server.plant(Fault::cut("lfs", 1_000_000).times(2));
    let recorder = Recorder::new(u64::MAX);
    let client = place.builder().progress(recorder.clone()).build().unwrap();
    let path = client.download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert_eq!(starts(&place.server), [0, 1_000_000, 2_000_000]);
    let heard = recorder.heard();
    assert!(
        heard.contains("broke at byte 1000000 of model.safetensors"),
        "{heard}"
    );
    assert!(heard.ends_with("finished model.safetensors"), "{heard}");
}

#[test]
fn a_connection_that_always_breaks_leaves_what_arrived_for_the_next_run() {
    let (place, repo, blob) = place();
    place.server.plant(Fault::cut("lfs", 100_000));
    let error = remote(place.client().download(&repo, FILE));
    assert_eq!(
        error.to_string(),
        "the download of `model.safetensors` broke off at 500000 of 3000000 bytes; these are kept, run it again to go on from there"
    );
    assert!(!place.cached(&blob).exists());
    assert_eq!(
        fs::metadata(place.cached(&format!("{blob}.incomplete")))
            .unwrap()
            .len(),
        500_000
    );
    place.server.heal();
    place.server.forget();
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert_eq!(starts(&place.server), [500_000]);
    assert!(!place.cached(&format!("{blob}.incomplete")).exists());
}

#[test]
fn an_interruption_keeps_what_arrived() {
    let (place, repo, blob) = place();
    let recorder = Recorder::new(1_000_000);
    let client = place.builder().progress(recorder).build().unwrap();
    let error = remote(client.download(&repo, FILE));
    assert!(matches!(error, RemoteError::Interrupted), "{error:?}");
    let partial = place.cached(&format!("{blob}.incomplete"));
    let have = fs::metadata(&partial).unwrap().len() as usize;
    assert!((1_000_000..SIZE).contains(&have), "{have}");
    place.server.forget();
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert_eq!(starts(&place.server), [have]);
}

#[test]
fn a_complete_partial_file_costs_no_bytes() {
    let (place, repo, blob) = place();
    fs::create_dir_all(place.cached("models--owner--name/blobs")).unwrap();
    fs::write(place.cached(&format!("{blob}.incomplete")), noise(SIZE)).unwrap();
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert!(starts(&place.server).is_empty());
}

#[test]
fn servers_without_ranges_begin_anew() {
    let (place, repo, _) = place();
    place.server.plant(Fault::cut("lfs", 1_000_000).times(1));
    place.server.plant(Fault::ignore_range("lfs").after(1));
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    // A range that is refused, too.
    let (place, repo, blob) = self::place();
    fs::create_dir_all(place.cached("models--owner--name/blobs")).unwrap();
    fs::write(
        place.cached(&format!("{blob}.incomplete")),
        &noise(SIZE)[..1000],
    )
    .unwrap();
    place.server.plant(Fault::status("lfs", 416, &[]).times(1));
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert_eq!(starts(&place.server), [0]);
}

#[test]
fn a_range_that_begins_elsewhere_is_refused() {
    let (place, repo, _) = place();
    place.server.plant(Fault::cut("lfs", 1_000_000).times(1));
    place.server.plant(Fault::shift_range("lfs").after(1));
    let error = remote(place.client().download(&repo, FILE));
    assert!(
        error
            .to_string()
            .contains("from 1000000 on, it sends `bytes 1000001-"),
        "{error}"
    );
}

#[test]
fn wrong_lengths_are_refused() {
    for by in [-1, 1] {
        let (place, repo, blob) = place();
        place.server.plant(Fault::wrong_length("lfs", by));
        let error = remote(place.client().download(&repo, FILE));
        let found = SIZE as i64 + by;
        assert_eq!(
            error.to_string(),
            format!(
                "`model.safetensors` should have 3000000 bytes, but the server sends {found}; try again later"
            )
        );
        assert!(!place.cached(&blob).exists());
    }
}

#[test]
fn damaged_bytes_are_discarded() {
    let (place, repo, blob) = place();
    place.server.plant(Fault::corrupt("lfs").times(1));
    let error = remote(place.client().download(&repo, FILE));
    assert!(
        matches!(&error, RemoteError::Hash { expected, .. } if blob.ends_with(expected.as_str())),
        "{error:?}"
    );
    assert!(!place.cached(&blob).exists() && !place.cached(&format!("{blob}.incomplete")).exists());
    let path = place.client().download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    // What an earlier run left is hashed along with the rest.
    let (place, repo, blob) = self::place();
    fs::create_dir_all(place.cached("models--owner--name/blobs")).unwrap();
    fs::write(place.cached(&format!("{blob}.incomplete")), vec![0; 1000]).unwrap();
    let error = remote(place.client().download(&repo, FILE));
    assert!(matches!(error, RemoteError::Hash { .. }), "{error:?}");
    place.client().download(&repo, FILE).unwrap();
}

#[test]
fn a_silent_connection_is_given_up_and_taken_up_again() {
    let (place, repo, _) = place();
    place.server.plant(Fault::stall("lfs", 600_000).times(1));
    let client = place
        .builder()
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let path = client.download(&repo, FILE).unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(SIZE));
    assert_eq!(starts(&place.server), [0, 600_000]);
}

#[test]
fn a_slow_server_is_not_a_dead_one() {
    let (place, repo, _) = place();
    place
        .server
        .plant(Fault::slow("small.txt", 400, Duration::from_millis(100)));
    let client = place
        .builder()
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let path = client.download(&repo, "small.txt").unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(5000));
}

#[test]
fn failing_servers_are_asked_again_and_then_named() {
    let (place, repo, _) = place();
    place
        .server
        .plant(Fault::status("/api/", 500, &[]).times(4));
    place.client().list(&repo).unwrap();
    place.server.plant(Fault::status("lfs", 502, &[]));
    place.server.forget();
    let error = remote(place.client().download(&repo, FILE));
    assert!(
        matches!(error, RemoteError::Server { status: 502, .. }),
        "{error:?}"
    );
    assert!(
        error.to_string().contains(&place.server.cdn_url()),
        "{error}"
    );
    let tries = place
        .server
        .requests()
        .iter()
        .filter(|request| request.status == 502)
        .count();
    assert_eq!(tries, 5);
    // A refusal for good is not repeated.
    place.server.heal();
    place.server.plant(Fault::status("lfs", 410, &[]));
    place.server.forget();
    remote(place.client().download(&repo, FILE));
    let tries = place
        .server
        .requests()
        .iter()
        .filter(|request| request.status == 410)
        .count();
    assert_eq!(tries, 1);
    // The body of a refusal never becomes a file.
    assert_eq!(
        fs::metadata(place.cached(&tree_incomplete(&place)))
            .unwrap()
            .len(),
        0
    );
}

fn tree_incomplete(place: &Place) -> String {
    let files = tree(place.cache.path());
    files
        .into_iter()
        .find(|path| path.ends_with(".incomplete"))
        .unwrap()
}

#[test]
fn large_files_on_the_hub_itself_work_too() {
    let place = Place::new();
    place.server.add(
        Repo::dataset("owner/data")
            .file("a.parquet", noise(1000))
            .relative_redirects(),
    );
    let path = place
        .client()
        .download(&dataset("owner/data"), "a.parquet")
        .unwrap();
    assert_eq!(fs::read(path).unwrap(), noise(1000));
}

#[test]
fn one_failure_ends_the_other_downloads() {
    let place = Place::new();
    let mut repo = Repo::dataset("owner/data");
    let names: Vec<String> = (0..12).map(|index| format!("{index:02}.parquet")).collect();
    for (index, name) in names.iter().enumerate() {
        repo = repo.file(name, noise(10_000 + index));
    }
    place.server.add(repo);
    place.server.plant(Fault::status("05.parquet", 410, &[]));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let error = remote(place.client().download_all(&dataset("owner/data"), &names));
    assert!(
        matches!(error, RemoteError::Server { status: 410, .. }),
        "{error:?}"
    );
    place.server.heal();
    let paths = place
        .client()
        .download_all(&dataset("owner/data"), &names)
        .unwrap();
    for (index, path) in paths.iter().enumerate() {
        assert_eq!(fs::read(path).unwrap(), noise(10_000 + index));
    }
    assert!(
        place
            .client()
            .download_all(&dataset("owner/data"), &[])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn clients_at_the_same_time_fetch_a_file_once() {
    let (place, repo, _) = place();
    place
        .server
        .plant(Fault::slow("lfs", 500_000, Duration::from_millis(10)));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let path = place.client().download(&repo, FILE).unwrap();
                assert_eq!(fs::read(path).unwrap(), noise(SIZE));
            });
        }
    });
    assert_eq!(starts(&place.server), [0]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named_with_a_way_out() {
    let (place, repo, blob) = place();
    fs::create_dir_all(place.cached("models--owner--name/blobs")).unwrap();
    // A device that has no room, ever.
    std::os::unix::fs::symlink("/dev/full", place.cached(&format!("{blob}.incomplete"))).unwrap();
    let error = remote(place.client().download(&repo, FILE));
    assert!(
        matches!(
            error,
            RemoteError::DiskFull {
                missing: 3_000_000,
                ..
            }
        ),
        "{error:?}"
    );
    assert!(
        error
            .to_string()
            .contains("set HF_HUB_CACHE to another disk"),
        "{error}"
    );
}

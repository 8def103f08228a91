//! What needs root: network namespaces of its own, with bridges between them. No daemon is asked.

mod bench;

use std::thread;

use verger_agent_core::enforcer::conformance::{Bench as _, conformance};
use verger_agent_core::enforcer::{Attachment, Enforcer as _, Open, Standing, Step, confirm};
use verger_agent_nftables::Nftables;

use bench::NetworkBench;

/// Calls this with an enforcer of the bench's host, in a thread that acts there.
fn on_the_host(bench: &mut NetworkBench, check: impl FnOnce(&mut Nftables, &mut NetworkBench) + Send) {
    thread::scope(|scope| {
        let checked = scope.spawn(|| {
            Nftables::enter(&bench.host()).unwrap();
            let mut enforcer = Nftables::new("/usr/sbin/nft".into()).unwrap();
            check(&mut enforcer, bench);
        });
        checked.join().unwrap();
    });
}

#[test]
fn nftables_conforms() {
    on_the_host(&mut NetworkBench::new(), |enforcer, bench| {
        conformance(enforcer, bench)
    });
}

#[test]
fn it_closes_also_where_bridges_hand_nothing_to_the_hooks_of_ip() {
    let mut bench = NetworkBench::new();
    bench.on_host("for f in arptables iptables ip6tables; do [ ! -e /proc/sys/net/bridge/bridge-nf-call-$f ] || echo 0 > /proc/sys/net/bridge/bridge-nf-call-$f; done");
    on_the_host(&mut bench, |enforcer, bench| conformance(enforcer, bench));
}

#[test]
fn every_kind_of_way_out_but_a_port_of_a_bridge_cannot_be_closed_and_says_so() {
    let mut bench = NetworkBench::new();
    let made: Vec<_> = [
        "link add way link uplink netns $NS type macvlan mode bridge",
        "link add way link uplink netns $NS type vxlan id 7 dstport 4789 dev uplink",
        "link add way type veth peer name routed netns $NS",
    ]
    .into_iter()
    .enumerate()
    .map(|(number, line)| {
        let subject = bench.isolated(&format!("w{number}"));
        let namespace = bench.namespace(&subject);
        bench.on_host(&format!("NS={namespace}; ip {line}"));
        subject
    })
    .collect();
    on_the_host(&mut bench, |enforcer, _| {
        let seen = enforcer.observe(&made).unwrap();
        for subject in &made {
            let told = confirm(&subject.instance, &seen);
            assert!(matches!(told, Err(Open::Beyond(_))), "{subject:?}: {told:?}");
        }
    });
}

#[test]
fn one_that_makes_itself_any_number_of_links_is_told_and_hides_no_other() {
    let mut bench = NetworkBench::new();
    let (many, other) = (bench.attached("many"), bench.attached("other"));
    let namespace = bench.namespace(&many);
    bench.on_host(&format!(
        "for n in $(seq 300); do echo link add made$n type bridge; done | ip -netns {namespace} -batch -"
    ));
    on_the_host(&mut bench, |enforcer, _| {
        for _ in 0..3 {
            let seen = enforcer.observe(&[many.clone(), other.clone()]).unwrap();
            match confirm(&many.instance, &seen) {
                Err(Open::Beyond(why)) => assert!(why.contains("more than 256 interfaces"), "{why}"),
                told => panic!("{told:?}"),
            }
            assert_eq!(confirm(&other.instance, &seen), Err(Open::NotYet));
        }
    });
}

#[test]
fn a_table_that_somebody_changed_does_not_stand() {
    let mut bench = NetworkBench::new();
    let a = bench.attached("a");
    on_the_host(&mut bench, |enforcer, bench| {
        let subjects = [a];
        let seen = enforcer.observe(&subjects).unwrap();
        let Some(Attachment::Ports(ports)) = seen.attachments.values().next() else {
            panic!("{seen:?}")
        };
        for change in [
            "nft add table bridge verger '{ flags dormant; }'",
            "nft insert rule bridge verger verger_from accept",
            "nft flush chain bridge verger verger_to",
            "nft delete chain bridge verger verger_to",
            "nft add rule bridge verger verger_to counter",
        ] {
            enforcer.apply(&[Step::Install(ports.clone())]).unwrap();
            assert_eq!(enforcer.observe(&subjects).unwrap().standing, Standing::Whole);
            bench.on_host(
                change
                    .replace(
                        "nft delete chain",
                        "nft flush chain bridge verger verger_to; nft delete chain",
                    )
                    .as_str(),
            );
            let seen = enforcer.observe(&subjects).unwrap();
            assert_eq!(seen.standing, Standing::Altered, "{change}");
        }
        // And what others have on bridges is left alone.
        bench.on_host("nft add table bridge others");
        enforcer.apply(&[Step::Remove]).unwrap();
        bench.on_host("nft list table bridge others");
    });
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let mut enforcer = Nftables::new("/nonexistent/nft".into()).unwrap();
    let error = enforcer.observe(&[]).unwrap_err().to_string();
    assert!(
        error.contains("/nonexistent/nft") && error.contains("nftables"),
        "{error}"
    );
}

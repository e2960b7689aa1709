//! Power cuts: at every byte that a command writes, and what is found afterwards.

use std::sync::{Arc, Mutex};

use euicc::{Card, MemoryNvm, Nvm, NvmError, Slot, stored_state};
use rsp::der::Element;
use rsp::sgp22::*;
use rsp::sgp32::*;
use zeroize::Zeroizing;

use crate::support::*;

/// The two slots as plain octets.
#[derive(Clone, Default)]
struct Slots([Vec<u8>; 2]);

impl Slots {
    fn of(nvm: &MemoryNvm) -> Self {
        let mut nvm = nvm.duplicate();
        Self([Slot::A, Slot::B].map(|slot| nvm.read(slot).unwrap().to_vec()))
    }

    fn state(&self) -> Vec<u8> {
        stored_state(&mut self.clone())
            .unwrap()
            .expect("there is always a state")
            .to_vec()
    }
}

impl Nvm for Slots {
    fn read(&mut self, slot: Slot) -> Result<Zeroizing<Vec<u8>>, NvmError> {
        Ok(Zeroizing::new(self.0[slot as usize].clone()))
    }

    fn write(&mut self, slot: Slot, octets: &[u8]) -> Result<(), NvmError> {
        self.0[slot as usize] = octets.to_vec();
        Ok(())
    }
}

/// What was written, and where.
type Write = (Slot, Vec<u8>);

/// A memory that remembers every write.
#[derive(Clone)]
struct Recorder {
    slots: Slots,
    writes: Arc<Mutex<Vec<Write>>>,
}

impl Nvm for Recorder {
    fn read(&mut self, slot: Slot) -> Result<Zeroizing<Vec<u8>>, NvmError> {
        self.slots.read(slot)
    }

    fn write(&mut self, slot: Slot, octets: &[u8]) -> Result<(), NvmError> {
        self.writes.lock().unwrap().push((slot, octets.to_vec()));
        self.slots.write(slot, octets)
    }
}

/// A bench on a copy of a memory.
fn copy_of(nvm: &MemoryNvm) -> Bench {
    let nvm = nvm.duplicate();
    Bench {
        card: Card::power_on(nvm.clone()).unwrap(),
        nvm,
        rng: rng(7),
    }
}

/// Does `act` on a copy of the memory, and then looks at what every cut of its writes leaves: the octets already written,
/// with the old ones or with nothing behind them. It must be, octet for octet, the state before or after that write.
/// Gives the memory before the first and after each write.
fn cut_everywhere(nvm: &MemoryNvm, act: impl Fn(&mut Bench) -> bool) -> Vec<Slots> {
    let recorder = Recorder {
        slots: Slots::of(nvm),
        writes: Arc::default(),
    };
    let card = Card::power_on(recorder.clone()).unwrap();
    let mut bench = Bench {
        card,
        nvm: MemoryNvm::new(),
        rng: rng(7),
    };
    assert!(act(&mut bench));
    let writes = recorder.writes.lock().unwrap().clone();
    assert!(!writes.is_empty(), "this operation writes nothing");
    let mut memories = vec![recorder.slots];
    for (slot, octets) in &writes {
        let old = memories.last().unwrap().clone();
        let before = old.state();
        let mut new = old.clone();
        new.write(*slot, octets).unwrap();
        // Where the old tail equals the new one, the write is complete before its end.
        let after = new.state();
        assert!(after != before, "a commit changes something");
        for cut in 0..octets.len() {
            let old_tail = old.0[*slot as usize].get(cut..).unwrap_or_default();
            // With nothing behind there is even less to be mistaken for a state: a sample is enough.
            let tails = [old_tail, &[]];
            for kept in &tails[..if cut % 32 == 0 { 2 } else { 1 }] {
                let mut torn = old.clone();
                torn.0[*slot as usize] = [&octets[..cut], kept].concat();
                let found = torn.state();
                assert!(
                    found == before || found == after,
                    "cut after {cut} of {}",
                    octets.len()
                );
            }
        }
        memories.push(new);
    }
    cut_cards(nvm, &act, &writes);
    memories
}

/// The same at a few places with a real card, which must fall silent.
fn cut_cards(nvm: &MemoryNvm, act: &impl Fn(&mut Bench) -> bool, writes: &[Write]) {
    let octets: usize = writes.iter().map(|(_, octets)| octets.len()).sum();
    for cut in (0..octets).step_by(octets / 5).chain([octets - 1]) {
        let mut bench = copy_of(nvm);
        bench.nvm.cut_power_after(cut as u64);
        assert!(
            !act(&mut bench),
            "answered although power went after {cut} of {octets}"
        );
        let status = bench.apdu(&[0x80, 0xF2, 0x00, 0x00, 0x00]);
        assert!(status.is_empty(), "a card without power is silent");
        bench.power_cycle();
    }
}

/// For functions that are one commit: there is no state in between.
fn happens_or_does_not(nvm: &MemoryNvm, request: &impl Element) {
    let memories = cut_everywhere(nvm, |bench| is_answered(bench, request));
    assert_eq!(memories.len(), 2, "one commit");
}

fn is_answered(bench: &mut Bench, request: &impl Element) -> bool {
    bench.es10(&request.to_der()).is_ok()
}

#[test]
fn local_functions_happen_or_do_not() {
    let bench = Bench::new(vec![
        enabled(1),
        with(profile(2), |it| it.is_fallback = true),
        emergency(3),
    ]);
    let nvm = &bench.nvm;
    let eims = AddInitialEimRequest {
        eim_configuration_data_list: (1..=2)
            .map(|number| Eim::new(&format!("eim{number}"), number).configuration())
            .collect(),
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &eims);
    let nickname = SetNicknameRequest {
        iccid: iccid(1),
        profile_nickname: "name".to_owned(),
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &nickname);
    let address = SetDefaultDpAddressRequest {
        default_dp_address: "new".to_owned(),
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &address);
    let fallback = ExecuteFallbackMechanismRequest {
        refresh_flag: true,
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &fallback);
    let emergency = EnableEmergencyProfileRequest {
        refresh_flag: true,
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &emergency);
    let reset = EuiccMemoryResetRequest {
        reset_options: ResetOptions::of(0..7),
        extensions: Default::default(),
    };
    happens_or_does_not(nvm, &reset);
}

#[test]
fn returns_and_acknowledgements_happen_or_do_not() {
    let fallback = with(profile(2), |it| it.is_fallback = true);
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), fallback, emergency(3)]);
    bench.psmo(&mut eim, enable_with_rollback(2));
    let rollback = ProfileRollbackRequest {
        refresh_flag: true,
        extensions: Default::default(),
    };
    happens_or_does_not(&bench.nvm, &rollback);
    let sent = NotificationSentRequest {
        seq_number: 1,
        extensions: Default::default(),
    };
    happens_or_does_not(&bench.nvm, &sent);
    bench.psmo(&mut eim, enable(1));
    assert!(is_answered(
        &mut bench,
        &ExecuteFallbackMechanismRequest {
            refresh_flag: true,
            extensions: Default::default()
        }
    ));
    let back = ReturnFromFallbackRequest {
        refresh_flag: true,
        extensions: Default::default(),
    };
    happens_or_does_not(&bench.nvm, &back);
    assert!(is_answered(
        &mut bench,
        &EnableEmergencyProfileRequest {
            refresh_flag: true,
            extensions: Default::default()
        }
    ));
    let back = DisableEmergencyProfileRequest {
        refresh_flag: true,
        extensions: Default::default(),
    };
    happens_or_does_not(&bench.nvm, &back);
}

/// A package that is cut short: either nothing was taken from it and it can be sent again, or its counter is used up,
/// and then it is executed with a result, or not executed with a result that says so.
#[test]
fn packages_are_executed_once_or_never_and_end_in_a_result() {
    let (bench, eim) = Bench::associated(vec![enabled(1), profile(2), profile(3)]);
    let second = Eim::new("second.example.com", 2);
    let packages = [
        EuiccPackage::PsmoList(vec![enable_with_rollback(2)]),
        EuiccPackage::PsmoList(vec![disable(1)]),
        EuiccPackage::PsmoList(vec![delete(3), enable(2)]),
        EuiccPackage::PsmoList(vec![set_fallback(2)]),
        EuiccPackage::EcoList(vec![Eco::AddEim(second.configuration())]),
        EuiccPackage::EcoList(vec![delete_eim(&eim.id)]),
    ];
    for package in packages {
        let request = eim.clone().sign(package);
        cut_package_everywhere(
            &bench.nvm,
            &Eim {
                counter: eim.counter + 1,
                ..eim.clone()
            },
            &request,
        );
    }
}

fn cut_package_everywhere(nvm: &MemoryNvm, eim: &Eim, request: &[u8]) {
    let memories = cut_everywhere(nvm, |bench| bench.es10(request).is_ok());
    let [unsent, accepted, executed] = memories.try_into().ok().expect("counter and execution");
    let power_on = |memory: &Slots| Bench {
        card: Card::power_on(memory.clone()).unwrap(),
        nvm: MemoryNvm::new(),
        rng: rng(7),
    };
    let mut bench = power_on(&unsent);
    let before = management(&mut bench);
    assert!(bench.results().is_empty());
    eim.verified(&bench.load(request));
    let after = management(&mut bench);

    let mut bench = power_on(&accepted);
    assert!(management(&mut bench) == before);
    let interrupted = EuiccResultData::ProcessingTerminated(ProcessingTerminated::Interruption);
    assert_eq!(only_result(&mut bench, eim).euicc_result, [interrupted]);
    let replayed = eim.error(&bench.load(request)).euicc_package_error_code;
    assert_eq!(
        replayed,
        EuiccPackageErrorCode::ReplayError,
        "replay after power loss"
    );
    assert!(management(&mut bench) == before);

    let mut bench = power_on(&executed);
    assert!(management(&mut bench) == after);
    let data = only_result(&mut bench, eim);
    assert!(!matches!(
        data.euicc_result[..],
        [EuiccResultData::ProcessingTerminated(_)]
    ));
    assert_eq!(data.counter_value, eim.counter);
    match bench.load(request) {
        EuiccPackageResult::EuiccPackageErrorSigned(error) => assert_eq!(
            error
                .euicc_package_error_data_signed
                .euicc_package_error_code,
            EuiccPackageErrorCode::ReplayError
        ),
        // The eIM deleted itself.
        EuiccPackageResult::EuiccPackageErrorUnsigned(_) => assert!(after.1.is_empty()),
        other => panic!("{other:?}"),
    }
    assert!(management(&mut bench) == after);
}

fn only_result(bench: &mut Bench, eim: &Eim) -> EuiccPackageResultDataSigned {
    let [result] = bench.results().try_into().expect("one result");
    eim.verified(&result)
}

/// Profiles and eIMs.
fn management(bench: &mut Bench) -> (Vec<ProfileInfo>, Vec<EimConfigurationData>) {
    (bench.profiles(), bench.eims())
}

#[test]
fn a_download_is_installed_or_not() {
    let bench = Bench::new(vec![enabled(1)]);
    let mut complete = copy_of(&bench.nvm);
    smdp::download(&mut complete);
    let octets = complete.nvm.octets_written();
    // Few cuts, as each takes a whole download; nvm's own tests cut at every byte.
    for cut in (0..octets)
        .step_by(usize::try_from(octets / 12).unwrap())
        .chain([octets - 1])
    {
        let mut bench = copy_of(&bench.nvm);
        bench.nvm.cut_power_after(cut);
        let commands =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| smdp::prepare(&mut bench)));
        if let Ok(commands) = commands {
            assert!(commands.iter().any(|command| bench.es10(command) == Err(0)));
        }
        bench.power_cycle();
        assert_eq!(bench.profiles().len(), 1);
        assert_eq!(bench.events(), []);
        // And it works when it is tried again.
        smdp::download(&mut bench);
        assert_eq!(bench.profiles().len(), 2);
    }
}

#[test]
fn counters_never_go_back() {
    let (bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let first = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    let mut used = copy_of(&bench.nvm);
    eim.verified(&used.load(&first));
    let second = eim.sign(EuiccPackage::EcoList(vec![Eco::AddEim(
        Eim::new("b", 2).configuration(),
    )]));
    let mut complete = copy_of(&used.nvm);
    complete.load(&second);
    for cut in (0..complete.nvm.octets_written()).step_by(1501) {
        let mut bench = copy_of(&used.nvm);
        bench.nvm.cut_power_after(cut);
        assert!(bench.es10(&second).is_err());
        bench.power_cycle();
        // The first package stays used, numbers stay above those given, tokens too.
        let replayed = bench.load(&first);
        assert!(matches!(
            replayed,
            EuiccPackageResult::EuiccPackageErrorSigned(_)
        ));
        let request = Eim {
            counter: 100,
            ..eim.clone()
        }
        .sign(EuiccPackage::EcoList(vec![Eco::AddEim(
            Eim::new("c", 3).configuration(),
        )]));
        let data = eim.verified(&bench.load(&request));
        assert!(data.seq_number > 3);
        let EuiccResultData::AddEimResult(AddEimResult::AssociationToken(token)) =
            &data.euicc_result[0]
        else {
            panic!("{data:?}")
        };
        assert!(*token >= 2);
    }
}

#[test]
fn a_reset_brings_a_card_back_whose_memory_failed() {
    let (mut bench, mut eim) = Bench::associated(vec![enabled(1), profile(2)]);
    let request = eim.sign(EuiccPackage::PsmoList(vec![enable(2)]));
    bench.nvm.cut_power_after(10);
    assert_eq!(bench.es10(&request), Err(0));
    assert_eq!(bench.es10(b"\xBF\x3C\x00"), Err(0));
    bench.nvm.restore_power();
    assert_eq!(
        bench.es10(b"\xBF\x3C\x00"),
        Err(0),
        "not before it is reset"
    );
    bench.card.reset().unwrap();
    assert_eq!(bench.enabled(), Some(iccid(1)));
    eim.verified(&bench.load(&request));
}

#[test]
fn making_a_card_can_be_repeated_after_a_cut() {
    let nvm = MemoryNvm::new();
    nvm.cut_power_after(100);
    assert!(Card::personalise(personalisation(vec![]), nvm.clone()).is_err());
    nvm.restore_power();
    assert!(Card::power_on(nvm.clone()).is_err());
    Card::personalise(personalisation(vec![]), nvm.clone()).unwrap();
    Card::power_on(nvm).unwrap();
}

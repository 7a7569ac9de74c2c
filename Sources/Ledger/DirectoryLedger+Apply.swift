import ClearingModel
import Wire

extension DirectoryLedger {
    /// Applies one committed data entry.
    ///
    /// - Parameter replies: replaced by one reply per command, in order. A reply with failures changed nothing.
    /// - Precondition: as for `ShardLedger.apply`.
    public func apply(
        _ payload: UnsafeRawBufferPointer, index: LogIndex, term: Term, replies: inout [DirectoryChangeReply]
    ) {
        let view: EntryView
        switch EntryView.read(payload, group: .directory) {
        case .failure(let error): preconditionFailure("entry \(index) of the directory is malformed: \(error)")
        case .success(let read): view = read
        }
        precondition(index > appliedIndex && term >= appliedTerm, "entries are applied in log order")
        precondition(view.header.ledgerTime > lastLedgerTime, "ledger time goes forward")
        appliedIndex = index
        appliedTerm = term
        lastLedgerTime = view.header.ledgerTime
        appliedBytes += UInt64(payload.count)
        replies.removeAll(keepingCapacity: true)
        for section in view.sections(key: hashKey) {
            guard case .directoryChange(let changes) = section else {
                preconditionFailure("a clearing shard's section in the directory's log")
            }
            replies.append(apply(changes))
        }
    }

    /// Applies the payload that a slab holds, which stays alive meanwhile.
    public func apply(_ payload: Slab, index: LogIndex, term: Term, replies: inout [DirectoryChangeReply]) {
        withExtendedLifetime(payload) { apply(payload.bytes, index: index, term: term, replies: &replies) }
    }

    /// What would become of a command, without applying it: for a leader that refuses early.
    public func faults(in changes: [DirectoryChange]) -> [DirectoryChangeReply.Failure] {
        var new = Additions()
        var failures: [DirectoryChangeReply.Failure] = []
        for (position, change) in changes.enumerated() {
            if let fault = fault(in: change, &new) {
                failures.append(DirectoryChangeReply.Failure(change: position, fault: fault))
            }
        }
        return failures
    }

    private func apply(_ changes: [DirectoryChange]) -> DirectoryChangeReply {
        commandCount += 1
        let failures = faults(in: changes)
        guard failures.isEmpty else { return DirectoryChangeReply(version: version, failures: failures) }
        for change in changes {
            version = version.next
            switch change {
            case .participant(let participant): upsert(Versioned(version: version, record: participant))
            case .mandate(let mandate): upsert(Versioned(version: version, record: mandate))
            }
        }
        compactHistory()
        return DirectoryChangeReply(version: version)
    }

    func upsert(_ one: Versioned<Participant>) {
        let position = participantPositions[one.record.id] ?? participants.count
        if position < participants.count {
            participants[position] = one
        } else {
            participantPositions[one.record.id] = position
            participants.append(one)
        }
        history.append(Change(version: one.version, isMandate: false, position: position))
    }

    func upsert(_ one: Versioned<Mandate>) {
        let key = MandateKey(one.record)
        let position = mandatePositions[key] ?? mandates.count
        if position < mandates.count {
            mandates[position] = one
        } else {
            mandatePositions[key] = position
            mandates.append(one)
        }
        history.append(Change(version: one.version, isMandate: true, position: position))
    }

    /// Whether a change is still the last one of its record.
    func isCurrent(_ change: Change) -> Bool {
        change.version
            == (change.isMandate ? mandates[change.position].version : participants[change.position].version)
    }

    private func compactHistory() {
        guard history.count > 2 * (participants.count + mandates.count) + 64 else { return }
        history = history.filter(isCurrent)
    }
}

// MARK: - Validation

extension DirectoryLedger {
    /// What the earlier changes of the same command add.
    private struct Additions {
        var participants: [ParticipantID: Participant] = [:]
        var mandates: Set<MandateKey> = []
        var participantCount = 0
        var mandateCount = 0
    }

    private func fault(in change: DirectoryChange, _ new: inout Additions) -> DirectoryFault? {
        switch change {
        case .participant(let participant):
            if let fault = fault(in: participant, new) { return fault }
            if known(participant.id, new) == nil { new.participantCount += 1 }
            new.participants[participant.id] = participant
        case .mandate(let mandate):
            if let fault = fault(in: mandate, new) { return fault }
            if new.mandates.insert(MandateKey(mandate)).inserted, mandatePositions[MandateKey(mandate)] == nil {
                new.mandateCount += 1
            }
        }
        return nil
    }

    private func known(_ id: ParticipantID, _ new: Additions) -> Participant? {
        new.participants[id] ?? participant(id)?.record
    }

    private func fault(in participant: Participant, _ new: Additions) -> DirectoryFault? {
        if participant.id == .none { return .invalidID }
        if !(1...999).contains(participant.currency) { return .invalidCurrency }
        if max(participant.limit, participant.funding) > Limits.maximumParticipantLimit { return .amountTooLarge }
        if let before = known(participant.id, new) {
            // Positions are kept in one currency, mandates are given to kinds, an exposure belongs to one sponsor.
            if before.kind != participant.kind || before.currency != participant.currency { return .immutableField }
            if before.sponsor != participant.sponsor { return .immutableField }
        } else if participants.count + new.participantCount >= Limits.maximumParticipants {
            return .tooManyParticipants
        }
        // An indirect participant has a sponsor that has none itself, in its own currency; nobody else has one.
        if participant.kind == .indirect {
            guard let sponsor = known(participant.sponsor, new), sponsor.kind != .indirect,
                sponsor.currency == participant.currency
            else { return .unknownSponsor }
        } else if participant.sponsor != .none {
            return .unknownSponsor
        }
        return nil
    }

    private func fault(in mandate: Mandate, _ new: Additions) -> DirectoryFault? {
        guard known(mandate.instructing, new) != nil else { return .unknownInstructing }
        switch mandate.debtors {
        case .one(let debtor):
            guard debtor != mandate.instructing, known(debtor, new) != nil else { return .unknownDebtor }
        case .every(let kind):
            // A regulator owes nothing: a mandate over all of them is a mistake.
            if kind == .regulator { return .unknownDebtor }
        }
        if mandate.kinds.isEmpty || !mandate.kinds.isSubset(of: .payments) { return .unknownKinds }
        if mandate.maximumAmount > Limits.maximumAmount { return .amountTooLarge }
        if mandate.dailyCap > Limits.maximumParticipantLimit { return .amountTooLarge }
        let key = MandateKey(mandate)
        if mandatePositions[key] == nil, !new.mandates.contains(key) {
            if mandates.count + new.mandateCount >= Limits.maximumMandates { return .tooManyMandates }
        }
        return nil
    }
}

import ClearingModel

// Participants and mandates as bytes: on the wire, and wherever a log carries them.

extension WireWriter {
    /// 28 bytes.
    public mutating func participant(_ participant: Participant) {
        id(participant.id)
        u8(participant.kind.rawValue)
        u8(participant.status.rawValue)
        u16(participant.currency)
        u64(participant.limit)
        u64(participant.funding)
        id(participant.sponsor)
    }

    /// 36 bytes.
    public mutating func mandate(_ mandate: Mandate) {
        id(mandate.instructing)
        switch mandate.debtors {
        case .one(let debtor):
            u8(1)
            flag(mandate.revoked)
            u16(0)
            id(debtor)
        case .every(let kind):
            u8(2)
            flag(mandate.revoked)
            u16(0)
            u32(UInt32(kind.rawValue))
        }
        u64(mandate.kinds.rawValue)
        u64(mandate.maximumAmount)
        u64(mandate.dailyCap)
    }

    /// A tag (1 participant, 2 mandate) and the item.
    public mutating func directoryChange(_ change: DirectoryChange) {
        switch change {
        case .participant(let participant):
            u8(1)
            self.participant(participant)
        case .mandate(let mandate):
            u8(2)
            self.mandate(mandate)
        }
    }
}

extension WireReader {
    public mutating func participant() throws(WireError) -> Participant {
        let id: ParticipantID = try id()
        let kind: ParticipantKind = try value("participant kind")
        let status: ParticipantStatus = try value("participant status")
        return Participant(
            id: id, kind: kind, status: status, currency: try u16(), limit: try u64(), funding: try u64(),
            sponsor: try self.id())
    }

    public mutating func mandate() throws(WireError) -> Mandate {
        let instructing: ParticipantID = try id()
        let tag = try u8()
        let revoked = try flag("mandate revoked")
        try zeros(2, "mandate padding")
        let debtors: Mandate.Debtors
        let value = try u32()
        switch tag {
        case 1: debtors = .one(ParticipantID(value))
        case 2:
            guard let raw = UInt8(exactly: value), let kind = ParticipantKind(rawValue: raw) else {
                throw .invalid(field: "mandate debtor kind", value: UInt64(value))
            }
            debtors = .every(kind)
        default: throw .invalid(field: "mandate debtors", value: UInt64(tag))
        }
        return Mandate(
            instructing: instructing, debtors: debtors, kinds: InstructionKinds(rawValue: try u64()),
            maximumAmount: try u64(), dailyCap: try u64(), revoked: revoked)
    }

    public mutating func directoryChange() throws(WireError) -> DirectoryChange {
        let tag = try u8()
        switch tag {
        case 1: return .participant(try participant())
        case 2: return .mandate(try mandate())
        default: throw .invalid(field: "directory item", value: UInt64(tag))
        }
    }
}

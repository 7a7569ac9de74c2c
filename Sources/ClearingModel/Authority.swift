/// Who a certificate says its holder is: `suanpan://CLUSTER/node/3`, `/participant/104`, `/operator/NAME`,
/// `/regulator/NAME`.
public enum Role: Hashable, Sendable, CustomStringConvertible {
    case node(NodeID)
    case participant(ParticipantID)
    case `operator`(String)
    case regulator(String)

    public var description: String {
        switch self {
        case .node(let id): "node/\(id)"
        case .participant(let id): "participant/\(id)"
        case .operator(let name): "operator/\(name)"
        case .regulator(let name): "regulator/\(name)"
        }
    }

    /// The URI of this role in a certificate of `cluster`.
    public func uri(cluster: ClusterID) -> String { "suanpan://\(cluster)/\(self)" }

    /// Reads a certificate's URI; `nil` for another cluster's, or a form that is not ours.
    public init?(uri: String, cluster: ClusterID) {
        let prefix = "suanpan://\(cluster)/"
        guard uri.hasPrefix(prefix) else { return nil }
        let parts = uri.dropFirst(prefix.count).split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[1].isEmpty else { return nil }
        switch parts[0] {
        case "node":
            guard let id = UInt32(parts[1]), id > 0 else { return nil }
            self = .node(NodeID(id))
        case "participant":
            guard let id = UInt32(parts[1]), id > 0 else { return nil }
            self = .participant(ParticipantID(id))
        case "operator": self = .operator(String(parts[1]))
        case "regulator": self = .regulator(String(parts[1]))
        default: return nil
        }
    }
}

/// Everything one certificate proves: one role, or several participants of one sponsor.
public struct Authority: Hashable, Sendable {
    public var node: NodeID?
    /// Ascending.
    public var participants: [ParticipantID]
    public var operatorName: String?
    public var regulatorName: String?

    public init(roles: [Role]) {
        var participants: Set<ParticipantID> = []
        for role in roles {
            switch role {
            case .node(let id): node = id
            case .participant(let id): participants.insert(id)
            case .operator(let name): operatorName = name
            case .regulator(let name): regulatorName = name
            }
        }
        self.participants = participants.sorted()
    }

    /// Whether this holder may instruct for `participant`. An operator moves no money, a regulator only reads.
    @inlinable
    public func mayInstruct(_ participant: ParticipantID) -> Bool {
        for one in participants where one == participant { return true }
        return false
    }

    public var isEmpty: Bool { node == nil && participants.isEmpty && operatorName == nil && regulatorName == nil }
}

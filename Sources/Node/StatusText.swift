import ClearingModel
import Wire

/// The JSON of `/status`: what one node knows of its groups. `suanpan cluster status` puts several together.
public enum StatusText {
    /// - Parameters:
    ///   - groups: groups with a replica on this node; others are left out.
    ///   - extra: further fields by name, their values already JSON.
    public static func json(
        cluster: ClusterID, replica: ReplicaID, groups: [GroupStatus], extra: [(name: String, json: String)] = []
    ) -> String {
        var text = "{\"cluster\":\"\(cluster)\",\"node\":\(replica.node),\"incarnation\":\(replica.incarnation)"
        for (name, json) in extra { text += ",\"\(name)\":\(json)" }
        text += ",\"shards\":["
        text += groups.filter { $0.part != .none }.map(group).joined(separator: ",")
        return text + "]}\n"
    }

    private static func group(_ group: GroupStatus) -> String {
        var text = "{\"id\":\(group.shard.rawValue),\"role\":\"\(group.part)\""
        text += ",\"leader\":\(group.leader?.description ?? "null"),\"term\":\(group.term)"
        text += ",\"commit\":\(group.commit),\"applied\":\(group.applied)"
        text += ",\"directoryVersion\":\(group.directoryVersion)"
        if let days = group.openDays {
            text += ",\"openDays\":[\"\(days.lowerBound.compactText)\",\"\(days.upperBound.compactText)\"]"
        }
        let replicas = group.replicas.map { one in
            "{\"node\":\(one.replica.node),\"incarnation\":\(one.replica.incarnation),\"part\":\"\(one.part)\""
                + ",\"match\":\(one.match)}"
        }
        return text + ",\"replicas\":[\(replicas.joined(separator: ","))]}"
    }
}

import ClearingModel
import Glibc
import LocalCluster
import TLS
import Workload

/// Who a command speaks as: a certificate of the cluster's directory, chosen by what the command does.
enum Access {
    /// Changes and orders.
    static func asOperator(_ directory: ClusterDirectory, timeoutSeconds: Double = 10) throws -> SuanpanClient {
        try client(directory, "operator", timeoutSeconds)
    }

    /// Reads of any participant.
    static func asRegulator(_ directory: ClusterDirectory, timeoutSeconds: Double = 10) throws -> SuanpanClient {
        try client(directory, "regulator", timeoutSeconds)
    }

    static func asParticipant(
        _ participant: ParticipantID, _ directory: ClusterDirectory, timeoutSeconds: Double = 10
    ) throws -> SuanpanClient {
        let certificates = directory.certificates
        guard certificates.participants.contains(participant) else {
            let known = certificates.participants.map(\.description).joined(separator: ", ")
            throw LaunchError.failed(
                "there is no certificate of participant \(participant) in \(certificates.directory): "
                    + (known.isEmpty ? "no participant has one" : "those of \(known) are there"))
        }
        return try client(directory, Certificates.name(of: participant), timeoutSeconds)
    }

    /// Every participant whose certificate is here, for a load.
    static func identities(_ directory: ClusterDirectory) throws -> [ClientIdentity] {
        try directory.certificates.participants.map {
            ClientIdentity(credentials: try credentials(directory, Certificates.name(of: $0)), participants: [$0])
        }
    }

    /// All of them as a service bureau: one certificate that names every participant whose certificate is here.
    static func bureau(_ directory: ClusterDirectory) throws -> [ClientIdentity] {
        let participants = directory.certificates.participants
        guard !participants.isEmpty else { return [] }
        let credentials = try directory.certificates.bureau(participants, cluster: try directory.topology().cluster)
        return [ClientIdentity(credentials: credentials, participants: participants)]
    }

    private static func client(
        _ directory: ClusterDirectory, _ name: String, _ timeoutSeconds: Double
    ) throws -> SuanpanClient {
        let topology = try directory.topology()
        guard try !directory.state().running.isEmpty else { throw LaunchError.notRunning(directory: directory.root) }
        // A connection that ends while it is written to is an error of that connection, not the end of the command.
        signal(SIGPIPE, SIG_IGN)
        return try SuanpanClient(
            topology: topology, credentials: try credentials(directory, name), timeoutSeconds: timeoutSeconds)
    }

    private static func credentials(_ directory: ClusterDirectory, _ name: String) throws -> TLSCredentials {
        let certificates = directory.certificates
        return TLSCredentials(
            authorityPEM: try bytes(certificates.authority), certificatePEM: try bytes(certificates.certificate(name)),
            keyPEM: try bytes(certificates.key(name)))
    }

    private static func bytes(_ path: String) throws -> [UInt8] {
        guard let file = fopen(path, "r") else { throw LaunchError.file(path: path, action: "read", code: errno) }
        defer { fclose(file) }
        var bytes = [UInt8](repeating: 0, count: 64 << 10)
        let count = fread(&bytes, 1, bytes.count, file)
        return Array(bytes[..<count])
    }
}

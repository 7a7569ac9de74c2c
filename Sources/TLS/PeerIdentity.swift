import COpenSSL
import ClearingModel

/// Who the other side proved to be: the URIs of its verified certificate.
public struct PeerIdentity: Hashable, Sendable {
    /// In the certificate's order.
    public let uris: [String]

    public init(uris: [String]) { self.uris = uris }

    /// The roles that the certificate gives in `cluster`; URIs of other clusters or other forms are left out.
    public func roles(in cluster: ClusterID) -> [Role] { uris.compactMap { Role(uri: $0, cluster: cluster) } }

    /// What the holder may do in `cluster`; empty where it has no role there.
    public func authority(in cluster: ClusterID) -> Authority { Authority(roles: roles(in: cluster)) }

    static func of(_ ssl: OpaquePointer) -> PeerIdentity? {
        guard let pointer = SSL_get1_peer_certificate(ssl) else { return nil }
        return PeerIdentity(uris: Certificate(adopting: pointer).uris)
    }
}

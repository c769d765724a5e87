public import NeedletailGRPC
public final class HealthService: Sendable { public init() {}; public enum S: Sendable { case serving, notServing }; public func setStatus(_ s: S, for: String) {} }
extension GRPCRouter { public mutating func registerHealth(_ h: HealthService) {}; public mutating func registerReflection(services: [String]) {} }

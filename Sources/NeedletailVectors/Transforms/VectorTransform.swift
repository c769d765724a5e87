/// scratch version until the transform branch is merged
public struct VectorTransform: Sendable, Hashable {
    public let inputDimensions: Int
    public var outputDimensions: Int { inputDimensions }
    public var scratchBytes: Int { 0 }
    public let normalises: Bool
    public let mean: [Float]
    public var meanSquaredNorm: Double { mean.reduce(0) { $0 + Double($1) * Double($1) } }
    public struct Constants { public var squaredNorm: Double; public var meanProduct: Double }
    public init(normalises: Bool, mean: [Float]) { self.normalises = normalises; self.mean = mean; inputDimensions = mean.count }
    public func apply(_ input: UnsafePointer<Float>, scratch: UnsafeMutableRawPointer, to output: UnsafeMutablePointer<Float>) -> Constants {
        var inverse: Float = 1
        if normalises {
            var sum = 0.0
            for i in 0..<inputDimensions { sum += Double(input[i]) * Double(input[i]) }
            inverse = sum > 0 ? Float(1 / sum.squareRoot()) : 0
        }
        var c = Constants(squaredNorm: 0, meanProduct: 0)
        mean.withUnsafeBufferPointer { mean in
            for i in 0..<inputDimensions {
                let v = input[i] * inverse - mean[i]
                output[i] = v
                c.squaredNorm += Double(v) * Double(v)
                c.meanProduct += Double(v) * Double(mean[i])
            }
        }
        return c
    }
}

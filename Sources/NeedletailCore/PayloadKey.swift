/// A key of a payload, which is another one's equal when its bytes are.
///
/// For Swift's `String` an "é" of one scalar equals one of two. For clients of other languages, and in what is stored, these are two keys: a dictionary of
/// texts would lose one of them.
public struct PayloadKey: Sendable, Hashable, Comparable, ExpressibleByStringInterpolation, CustomStringConvertible {
    public var text: String

    public init(_ text: String) { self.text = text }

    public init(stringLiteral text: String) { self.text = text }

    public var description: String { text }

    public static func == (left: PayloadKey, right: PayloadKey) -> Bool { left.text.utf8.elementsEqual(right.text.utf8) }

    public static func < (left: PayloadKey, right: PayloadKey) -> Bool { left.text.utf8.lexicographicallyPrecedes(right.text.utf8) }

    public func hash(into hasher: inout Hasher) {
        var text = text
        text.withUTF8 { unsafe hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

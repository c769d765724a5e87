public import NeedletailCore

/// JSON text of payload values. Keys are sorted, so equal values print alike.
public enum JSONWriter {
    public static func text(_ value: PayloadValue) -> String {
        var text = ""
        write(value, to: &text)
        return text
    }

    public static func text(_ payload: Payload) -> String { text(.map(payload)) }

    private static func write(_ value: PayloadValue, to text: inout String) {
        switch value {
        case .null: text += "null"
        case .bool(let flag): text += flag ? "true" : "false"
        case .integer(let integer): text += String(integer)
        // JSON has no infinities; null is what JavaScript writes for them.
        case .double(let double): text += double.isFinite ? "\(double)" : "null"
        case .string(let string): JSONText.append(string, to: &text)
        case .list(let values):
            text += "["
            for (index, value) in values.enumerated() {
                if index > 0 { text += "," }
                write(value, to: &text)
            }
            text += "]"
        case .map(let entries):
            text += "{"
            for (index, (key, value)) in entries.sorted(by: { $0.key < $1.key }).enumerated() {
                if index > 0 { text += "," }
                JSONText.append(key.text, to: &text)
                text += ":"
                write(value, to: &text)
            }
            text += "}"
        }
    }
}

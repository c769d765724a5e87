public import NeedletailCore

extension PayloadFilter {
    /// An object of keys, each with a value or a list of them: `{"tenant": "shop", "region": ["eu", "us"]}`.
    ///
    /// A key that is there twice is refused, and not left out: whoever is kept to what a filter admits would see more than was meant.
    /// - Throws: `invalidArgument` that says what is wrong.
    public init(from reader: inout JSONReader) throws(NeedletailError) {
        guard reader.kind() == .object else { throw NeedletailError(.invalidArgument, "a filter is a JSON object, as {\"tenant\": \"shop\"}") }
        var conditions: [Condition] = []
        try reader.object { key, reader throws(NeedletailError) in
            let value = try reader.value()
            let listed: [PayloadValue] = if case .list(let all) = value { all } else { [value] }
            let values = try listed.map { one throws(NeedletailError) in
                guard let value = Value(one) else {
                    throw NeedletailError(.invalidArgument, "the values of a filter are texts, whole numbers and booleans; those of \"\(key)\" are not")
                }
                return value
            }
            conditions.append(Condition(key: PayloadKey(key), values: values))
        }
        try self.init(conditions)
    }
}

/// Documents and queries as sets of token vectors, for late interaction.
public struct TokenSet: Sendable {
    /// `tokensPerDocument` rows a document, document by document.
    public var documents: VectorRows
    public var tokensPerDocument: Int
    /// `tokensPerQuery` rows a query.
    public var queries: VectorRows
    public var tokensPerQuery: Int
    /// The document that each query was made from.
    public var sources: [Int]
    /// The topic of each document.
    public var topics: [Int]
}

/// The sizes of T4.
public struct TokenSetSize: Sendable {
    public var documents = 5_000
    public var tokensPerDocument = 32
    public var queries = 200
    public var tokensPerQuery = 16
    public var dimensions = 128
    public var words = 400
    public var topics = 60

    public init() {}
}

extension SyntheticSets {
    /// T4 tok: each topic is a Dirichlet(0.05) distribution over word directions; a document has one topic and a context of its own;
    /// token = word + 0.5·context + 0.4·noise, normalised. A query is some tokens of one document, each + 0.7·noise, normalised.
    /// Words and contexts are unit vectors, noise is Gaussian of expected square norm 1.
    public static func tokens(_ size: TokenSetSize = TokenSetSize(), seed: UInt64 = 4) -> TokenSet {
        precondition(size.tokensPerQuery <= size.tokensPerDocument, "a query takes its tokens from one document")
        var generator = SeededGenerator(seed: seed)
        let words = directions(size.words, size.dimensions, &generator)
        let contexts = directions(size.documents, size.dimensions, &generator)
        let cumulative = (0..<size.topics).map { _ in
            generator.dirichlet(0.05, count: size.words).reduce(into: [Double]()) { $0.append(($0.last ?? 0) + $1) }
        }
        let topics = (0..<size.documents).map { _ in Int.random(in: 0..<size.topics, using: &generator) }
        let noise = 1 / Float(size.dimensions).squareRoot()
        var documents = VectorRows(dimensions: size.dimensions, capacity: size.documents * size.tokensPerDocument)
        for document in 0..<size.documents {
            let context = contexts[document]
            for _ in 0..<size.tokensPerDocument {
                let place = generator.uniform()
                let word = words[min(size.words - 1, cumulative[topics[document]].firstIndex { $0 >= place } ?? size.words - 1)]
                documents.append(word.indices.map { word[$0] + 0.5 * context[$0] + 0.4 * noise * Float(generator.gaussian()) })
            }
        }
        documents.normalise()
        let sources = (0..<size.queries).map { _ in Int.random(in: 0..<size.documents, using: &generator) }
        var queries = VectorRows(dimensions: size.dimensions, capacity: size.queries * size.tokensPerQuery)
        for source in sources {
            for token in (0..<size.tokensPerDocument).shuffled(using: &generator).prefix(size.tokensPerQuery) {
                queries.append(documents[source * size.tokensPerDocument + token].map { $0 + 0.7 * noise * Float(generator.gaussian()) })
            }
        }
        queries.normalise()
        return TokenSet(
            documents: documents, tokensPerDocument: size.tokensPerDocument, queries: queries, tokensPerQuery: size.tokensPerQuery,
            sources: sources, topics: topics)
    }

    private static func directions(_ count: Int, _ dimensions: Int, _ generator: inout SeededGenerator) -> VectorRows {
        var rows = VectorRows(dimensions: dimensions, capacity: count)
        for _ in 0..<count { rows.append(generator.gaussians(dimensions)) }
        rows.normalise()
        return rows
    }
}

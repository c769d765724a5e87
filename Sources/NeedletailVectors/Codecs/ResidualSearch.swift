/// Chooses one centroid of each book so that their sum comes near a vector: a search that keeps the `width` best partial sums (Babenko and
/// Lempitsky, "Additive quantization for extreme vector compression", 2014), since the nearest centroid of the first book need not belong
/// to the best sum.
///
/// ½‖x − Σc‖² is ½‖x‖² plus, a book at a time, ½‖c‖² − ⟨x, c⟩ and the products of c with the centroids chosen before: tables that are there.
struct ResidualSearch {
    let books: Int
    let centroids: Int
    private static let width = 8

    private struct Beam {
        var cost: Float
        /// The code of the last book, and the beam of the book before that it continues.
        var code: Int
        var parent: Int
    }

    /// - Parameters:
    ///   - products: ⟨x, c⟩, `books × centroids`.
    ///   - halves: ½‖c‖², as many.
    ///   - gram: products of centroids, `(books·centroids)²`.
    ///   - codes: receives a code a book.
    func encode(
        _ products: UnsafePointer<Float>, halves: UnsafePointer<Float>, gram: UnsafePointer<Float>, codes: UnsafeMutablePointer<UInt8>
    ) {
        var kept: [[Beam]] = []
        withUnsafeTemporaryAllocation(of: Float.self, capacity: centroids) { costs in
            let costs = costs.baseAddress.unsafelyUnwrapped
            for book in 0..<books {
                var best: [Beam] = []
                best.reserveCapacity(Self.width + 1)
                for parent in 0..<(kept.last?.count ?? 1) {
                    let start = kept.last?[parent].cost ?? 0
                    let place = book * centroids
                    for code in 0..<centroids { costs[code] = start + (halves[place + code] - products[place + code]) }
                    for (earlier, code) in path(kept, to: parent).enumerated() {
                        let row = gram + (earlier * centroids + code) * books * centroids + place
                        for code in 0..<centroids { costs[code] += row[code] }
                    }
                    for code in 0..<centroids where best.count < Self.width || costs[code] < best[best.count - 1].cost {
                        Self.insert(Beam(cost: costs[code], code: code, parent: parent), in: &best)
                    }
                }
                kept.append(best)
            }
        }
        for (book, code) in path(kept, to: 0).enumerated() { codes[book] = UInt8(code) }
    }

    private static func insert(_ beam: Beam, in best: inout [Beam]) {
        let place = best.firstIndex { beam.cost < $0.cost } ?? best.count
        best.insert(beam, at: place)
        if best.count > width { best.removeLast() }
    }

    /// The codes of a beam of the last book, from the first book on.
    private func path(_ kept: [[Beam]], to last: Int) -> [Int] {
        var codes = [Int](repeating: 0, count: kept.count)
        var place = last
        for book in kept.indices.reversed() {
            codes[book] = kept[book][place].code
            place = kept[book][place].parent
        }
        return codes
    }
}

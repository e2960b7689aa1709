// Verifies a ledger with nothing of Palisade: golang.org/x/mod has the first implementation of signed notes and of tiles,
// from which the C2SP specifications were written.
//
//	GO111MODULE=off GOPATH=/usr/share/gocode go run main.go <folder> <public key>
//
// with Debian's golang-go and golang-golang-x-mod-dev.
package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// folder reads tiles from where C2SP tlog-tiles has them.
type folder struct{ root string }

func (f folder) Height() int { return 8 }

func (f folder) SaveTiles([]tlog.Tile, [][]byte) {}

func (f folder) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var data [][]byte
	for _, tile := range tiles {
		octets, err := f.read(tile, "tile/8/", "tile/")
		if err != nil {
			return nil, err
		}
		data = append(data, octets)
	}
	return data, nil
}

// read takes the full tile where the partial one is gone.
func (f folder) read(tile tlog.Tile, from, to string) ([]byte, error) {
	path := strings.Replace(tile.Path(), from, to, 1)
	octets, err := os.ReadFile(filepath.Join(f.root, path))
	if os.IsNotExist(err) {
		path, _, _ = strings.Cut(path, ".p/")
		octets, err = os.ReadFile(filepath.Join(f.root, path))
		if err == nil && tile.L >= 0 {
			octets = octets[:tile.W*tlog.HashSize]
		}
	}
	return octets, err
}

func main() {
	log.SetFlags(0)
	files := folder{os.Args[1]}
	verifier, err := note.NewVerifier(os.Args[2])
	check(err)
	checkpoint, err := os.ReadFile(filepath.Join(files.root, "checkpoint"))
	check(err)
	signed, err := note.Open(checkpoint, note.VerifierList(verifier))
	check(err)
	lines := strings.Split(signed.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() {
		log.Fatalf("not a checkpoint of %s", verifier.Name())
	}
	var tree tlog.Tree
	_, err = fmt.Sscan(lines[1], &tree.N)
	check(err)
	tree.Hash, err = tlog.ParseHash(lines[2])
	check(err)

	hashes := tlog.TileHashReader(tree, files)
	for first := int64(0); first < tree.N; first += 256 {
		width := tree.N - first
		if width > 256 {
			width = 256
		}
		bundle, err := files.read(tlog.Tile{H: 8, L: -1, N: first / 256, W: int(width)}, "tile/8/data/", "tile/entries/")
		check(err)
		var indexes []int64
		for number := first; number < first+width; number++ {
			indexes = append(indexes, tlog.StoredHashIndex(0, number))
		}
		leaves, err := hashes.ReadHashes(indexes)
		check(err)
		for number, leaf := range leaves {
			length := binary.BigEndian.Uint16(bundle)
			entry := bundle[2 : 2+length]
			bundle = bundle[2+length:]
			if tlog.RecordHash(entry) != leaf || !bytes.HasPrefix(entry, []byte("{")) {
				log.Fatalf("entry %d is not what was signed", first+int64(number))
			}
		}
	}
	fmt.Printf("good: %d entries, root %s\n", tree.N, tree.Hash)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

// Verifies in the browser that an entry is in the record: RFC 6962 section 2.1.1, and the signature of the checkpoint (C2SP
// signed-note, Ed25519).

const place = document.querySelector('#verify');
place?.querySelector('button').addEventListener('click', async () => {
  const answer = place.querySelector('[role=status]');
  try {
    const response = await fetch(place.dataset.proof, { headers: { accept: 'application/json' } });
    if (!response.ok) throw new Error(`the proof could not be read (${response.status})`);
    const said = await verify(await response.json(), place.dataset.key);
    answer.textContent = said;
    answer.className = 'note good';
  } catch (error) {
    answer.textContent = `Not proven: ${error.message}.`;
    answer.className = 'note bad';
  }
});

const octets = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const utf8 = (text) => new TextEncoder().encode(text);
const hash = async (...parts) => new Uint8Array(await crypto.subtle.digest('SHA-256', await new Blob(parts).arrayBuffer()));
const same = (one, other) => one.length === other.length && one.every((octet, index) => octet === other[index]);

async function verify(bundle, key) {
  const [body, signatures] = split(bundle.checkpoint);
  const [origin, size, root] = body.split('\n');
  const entry = JSON.parse(bundle.entry.entry);
  const leaf = await hash(Uint8Array.of(0), utf8(bundle.entry.entry));
  const computed = await up(leaf, entry.number, Number(size), bundle.entry.proof.map(octets));
  if (!same(computed, octets(root))) throw new Error('the hashes do not lead to the root of the checkpoint');
  const parts = key.split('+');
  const name = parts[0];
  const identity = parts[1];
  const material = octets(parts.slice(2).join('+'));
  const line = signatures.find((one) => one.startsWith(`\u2014 ${name} `));
  if (!line || name !== origin) throw new Error('the checkpoint is not signed by the key of this record');
  const signature = octets(line.slice(line.lastIndexOf(' ') + 1));
  const hint = [...signature.slice(0, 4)].map((octet) => octet.toString(16).padStart(2, '0')).join('');
  if (hint !== identity) throw new Error('the checkpoint is signed by another key');
  const ed25519 = await crypto.subtle.importKey('raw', material.slice(1), { name: 'Ed25519' }, false, ['verify']);
  const isGood = await crypto.subtle.verify({ name: 'Ed25519' }, ed25519, signature.slice(4), utf8(body));
  if (!isGood) throw new Error('the signature of the checkpoint is wrong');
  return `Proven: entry ${entry.number} is in the record of ${origin}, which had ${size} entries when its key signed the checkpoint. Checked in this browser.`;
}

function split(note) {
  const end = note.lastIndexOf('\n\n');
  return [note.slice(0, end + 1), note.slice(end + 2).split('\n').filter(Boolean)];
}

/** From a leaf to the root (RFC 9162 section 2.1.3.2). */
async function up(leaf, index, size, path) {
  if (index >= size) throw new Error('the entry is not covered by the checkpoint');
  let [fn, sn, r] = [BigInt(index), BigInt(size) - 1n, leaf];
  for (const p of path) {
    if (sn === 0n) throw new Error('the proof is too long');
    if (fn & 1n || fn === sn) {
      r = await hash(Uint8Array.of(1), p, r);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else {
      r = await hash(Uint8Array.of(1), r, p);
    }
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  if (sn !== 0n) throw new Error('the proof is too short');
  return r;
}

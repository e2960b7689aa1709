// Passkeys: octets to text and back, what the authenticator is asked, and what the server says to it.

const encode = (buffer) => {
  let text = '';
  for (const octet of new Uint8Array(buffer)) text += String.fromCharCode(octet);
  return btoa(text).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
};

const decode = (text) =>
  Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));

export const isSupported = () =>
  window.isSecureContext && 'credentials' in navigator && typeof window.PublicKeyCredential === 'function';

/** Why something did not work, in words for people. */
export class Refused extends Error {
  constructor(problem) {
    super(problem.detail);
    this.problem = problem;
  }
}

/** Sends JSON, and gives the JSON of the answer. */
export async function post(path, body) {
  let response;
  try {
    response = await fetch(path, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify(body ?? {}),
    });
  } catch {
    throw new Refused({ title: 'The server does not answer', detail: 'the connection was lost', action: 'check the network and try again' });
  }
  const text = await response.text();
  let answer = {};
  try {
    answer = text ? JSON.parse(text) : {};
  } catch {
    answer = { title: 'The answer cannot be read', detail: `status ${response.status}`, action: 'reload the page' };
  }
  if (!response.ok) throw new Refused(answer);
  return answer;
}

/** Has a passkey sign a challenge (base64url). `ids`: passkeys that may do it; none: any. */
export async function assertion(challenge, rpId, ids = []) {
  const credential = await asked(() =>
    navigator.credentials.get({
      publicKey: {
        challenge: decode(challenge),
        rpId,
        userVerification: 'required',
        timeout: 120000,
        allowCredentials: ids.map((id) => ({ type: 'public-key', id: decode(id) })),
      },
    }),
  );
  return {
    id: encode(credential.rawId),
    type: 'public-key',
    response: {
      clientDataJSON: encode(credential.response.clientDataJSON),
      authenticatorData: encode(credential.response.authenticatorData),
      signature: encode(credential.response.signature),
    },
  };
}

/** The proof of a person. */
export async function proof(challenge, rpId, ids) {
  const signed = await assertion(challenge, rpId, ids);
  return { type: 'passkey', credential: signed.id, assertion: signed };
}

/** Makes a passkey. */
export async function registration(options, name) {
  const credential = await asked(() =>
    navigator.credentials.create({
      publicKey: {
        challenge: decode(options.challenge),
        rp: { id: options.rp_id, name: 'Palisade' },
        user: { id: decode(options.user_id), name, displayName: name },
        pubKeyCredParams: options.algorithms.map((alg) => ({ type: 'public-key', alg })),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
        timeout: 180000,
      },
    }),
  );
  return {
    id: encode(credential.rawId),
    type: 'public-key',
    response: {
      clientDataJSON: encode(credential.response.clientDataJSON),
      attestationObject: encode(credential.response.attestationObject),
    },
  };
}

async function asked(call) {
  try {
    const credential = await call();
    if (credential) return credential;
  } catch (error) {
    if (error.name === 'SecurityError') {
      throw new Refused({ title: 'The browser refuses passkeys here', detail: 'this address is not the one that passkeys of this installation are for', action: 'open the console under its own name, over https' });
    }
    if (error.name === 'InvalidStateError') {
      throw new Refused({ title: 'This authenticator has a passkey already', detail: 'it is enrolled for this name', action: 'sign in with it, or use another authenticator' });
    }
    if (error.name !== 'NotAllowedError' && error.name !== 'AbortError') {
      throw new Refused({ title: 'The passkey did not work', detail: error.message, action: 'try again, or use another one' });
    }
  }
  throw new Refused({ title: 'Nothing was signed', detail: 'the passkey was not used, or there is none for this console on this device', action: 'try again when you are ready' });
}

/** Shows why something did not work. `place` is an element with role=alert. */
export function say(place, error) {
  const problem = error instanceof Refused ? error.problem : { title: 'Something went wrong', detail: error.message, action: 'reload the page' };
  const title = document.createElement('h2');
  title.textContent = problem.title ?? 'This was not done';
  const detail = document.createElement('p');
  detail.textContent = `${sentence(problem.detail)} ${sentence(problem.action)}`;
  place.className = 'note bad';
  place.replaceChildren(title, detail);
  place.hidden = false;
}

function sentence(text) {
  if (!text) return '';
  const start = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(start) ? start : `${start}.`;
}

/** While something is under way, its button cannot be pressed again. */
export async function during(button, words, work) {
  const before = button.textContent;
  const buttons = [...document.querySelectorAll('button')].filter((one) => !one.disabled);
  for (const one of buttons) one.disabled = true;
  button.textContent = words;
  try {
    return await work();
  } finally {
    for (const one of buttons) one.disabled = false;
    button.textContent = before;
  }
}

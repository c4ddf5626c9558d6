// The calls of one page, and what both libraries' pages have in common: the
// events that go to the test, and the look at a call's real media.
//
// A call is known to the test by a small number. Whatever happens to it is
// reported once, as an event {kind, call, ...}; the test waits for events and
// never for time.

// report is put into the page by the driver before any script runs.
export function report(kind, fields = {}) {
  window.report({ kind, ...fields });
}

export class Calls {
  #last = 0;
  #sessions = new Map();

  add(session) {
    this.#sessions.set(++this.#last, session);
    return this.#last;
  }

  get(call) {
    const session = this.#sessions.get(call);
    if (!session) {
      throw new Error(`no call ${call}`);
    }
    return session;
  }
}

// Sound arrives only at a track that is played.
const players = new Map();

export function play(connection) {
  connection.addEventListener("track", ({ track }) => {
    const player = new Audio();
    player.srcObject = new MediaStream([track]);
    player.play().catch((error) => console.log(`cannot play: ${error}`));
    players.set(track, player);
    track.addEventListener("ended", () => players.delete(track));
  });
}

// A change that only getStats shows has no event of its own, so it is looked
// for often. The test's own deadline ends a wait that nothing satisfies.
const LOOK_MS = 50;

function until(look) {
  return new Promise((resolve, reject) => {
    const step = async () => {
      try {
        const found = await look();
        if (found) {
          resolve(found);
        } else {
          setTimeout(step, LOOK_MS);
        }
      } catch (error) {
        reject(error);
      }
    };
    step();
  });
}

async function inbound(connection) {
  const sum = { packets: 0, energy: 0 };
  for (const stat of (await connection.getStats()).values()) {
    if (stat.type === "inbound-rtp" && stat.kind === "audio") {
      sum.packets += stat.packetsReceived;
      sum.energy += stat.totalAudioEnergy ?? 0;
    }
  }
  return sum;
}

// Resolves when the connection stands, at least `packets` more audio packets
// have come in than at the time of asking, and they carried sound (Chromium's
// fake microphone beeps once a second; silence has no energy).
export async function hears(connection, packets) {
  const before = await inbound(connection);
  return until(async () => {
    const now = await inbound(connection);
    return connection.connectionState === "connected" &&
      now.packets >= before.packets + packets &&
      now.energy > before.energy && {
        state: connection.connectionState,
        packets: now.packets - before.packets,
      };
  });
}

// Resolves when the negotiated direction of the call's audio is `direction`,
// as this side sees it: "sendrecv", "sendonly", "recvonly" or "inactive".
export function directionBecomes(connection, direction) {
  return until(() =>
    connection.signalingState === "stable" &&
    connection.getTransceivers().some((t) => t.currentDirection === direction));
}

// Media stays on loopback: the socket behind an IPv4 candidate listens on every
// address of this machine, so each description, ours and the peer's, is made to
// name 127.0.0.1 and nothing else.
export function onLoopback(sdp) {
  const ipv4 = /(?<= )\d+\.\d+\.\d+\.\d+\b/;
  return sdp.split("\r\n")
    .filter((line) => !line.startsWith("a=candidate:") || / udp /i.test(line) && ipv4.test(line))
    .map((line) => /^(a=candidate:|c=IN IP4 )/.test(line) ? line.replace(ipv4, "127.0.0.1") : line)
    .join("\r\n");
}

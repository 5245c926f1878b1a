import { constants, X509Certificate } from "node:crypto";
import type { Socket } from "node:net";
import { createSecureContext, type DetailedPeerCertificate, type SecureContext, TLSSocket } from "node:tls";
import { messageOf } from "../base/errors.ts";
import { commonNameOf } from "./common-name.ts";
import { addressOf } from "./node-net.ts";
import type { PeerIdentity, TlsListening, TlsMaterial } from "./runtime.ts";

/** HTTP/2 first: what both sides speak is chosen by ALPN, and seen again by the connection's first bytes. */
const PROTOCOLS = ["h2", "http/1.1"];
/** What a TLS connection begins with: a record of type handshake (RFC 8446 §5.1). No HTTP does. */
const HANDSHAKE_RECORD = 22;
/** A chain longer than this is not looked through. */
const CHAIN_MAX = 16;

/**
 * TLS handshakes of one listener. Bounds: one may take `handshakeTimeoutMs` from the moment its connection came, and
 * `handshakesMax` are under way at a time. Who opens connections and says nothing pushes out its own, oldest ones, and
 * keeps nobody else out.
 */
export class Handshakes {
  readonly #tls: TlsListening;
  readonly #accept: (socket: Socket, peer: PeerIdentity | null) => void;
  /** In the order in which they began. */
  readonly #underWay = new Set<Handshake>();
  #material: TlsMaterial | null = null;
  #context: SecureContext | null = null;

  constructor(tls: TlsListening, accept: (socket: Socket, peer: PeerIdentity | null) => void) {
    this.#tls = tls;
    this.#accept = accept;
  }

  /** Takes the newest material over. Rejects if it cannot be used. */
  async refresh(): Promise<{ context: SecureContext; material: TlsMaterial }> {
    const material = await this.#tls.material();
    if (material !== this.#material || this.#context === null) {
      this.#context = contextOf(material);
      this.#material = material;
    }
    return { context: this.#context, material };
  }

  begin(socket: Socket): void {
    this.#secure(this.#register(socket));
  }

  /** A connection that does not begin as TLS does is given to `plain`. */
  beginOrLeave(socket: Socket, plain: (socket: Socket) => void): void {
    const handshake = this.#register(socket);
    handshake.peek((firstByte) => {
      if (firstByte === HANDSHAKE_RECORD) return this.#secure(handshake);
      handshake.leave();
      plain(socket);
    });
  }

  #register(socket: Socket): Handshake {
    if (this.#underWay.size >= this.#tls.handshakesMax) {
      for (const oldest of this.#underWay) {
        oldest.end("too many handshakes are under way");
        break;
      }
    }
    const handshake = new Handshake(socket, this.#tls, () => this.#underWay.delete(handshake));
    this.#underWay.add(handshake);
    return handshake;
  }

  #secure(handshake: Handshake): void {
    // Bounded by the handshake's own time: a connection that has ended meanwhile is not gone on with.
    this.refresh().then(
      ({ context, material }) => handshake.secure(context, material, this.#accept),
      (error: unknown) => handshake.end(messageOf(error)),
    );
  }
}

class Handshake {
  readonly #tls: TlsListening;
  readonly #raw: Socket;
  readonly #remoteAddress: string;
  readonly #over: () => void;
  readonly #timer: NodeJS.Timeout;
  #socket: TLSSocket | null = null;
  #ended = false;
  readonly #closed = (): void => this.end("the client went away during the handshake");
  readonly #failed = (error: Error): void => this.end(error.message);

  constructor(raw: Socket, tls: TlsListening, over: () => void) {
    this.#raw = raw;
    this.#tls = tls;
    this.#over = over;
    this.#remoteAddress = addressOf(raw);
    this.#timer = setTimeout(() => this.end("the handshake took too long"), tls.handshakeTimeoutMs);
    raw.on("error", this.#failed);
    raw.on("close", this.#closed);
  }

  /** Told of the connection's first byte, which stays to be read. */
  peek(told: (firstByte: number) => void): void {
    this.#raw.once("readable", () => {
      if (this.#ended) return;
      const first: Buffer | null = this.#raw.read();
      if (first === null) return this.end("the client went away before it said anything");
      this.#raw.unshift(first);
      told(first[0]!);
    });
  }

  /** The connection is another's from here on. */
  leave(): void {
    if (!this.#ended) this.#finish();
  }

  secure(
    context: SecureContext,
    material: TlsMaterial,
    accept: (socket: Socket, peer: PeerIdentity | null) => void,
  ): void {
    if (this.#ended) return;
    const requiresClient = material.clientAuthorities !== null;
    const socket = new TLSSocket(this.#raw, {
      isServer: true,
      secureContext: context,
      ALPNProtocols: PROTOCOLS,
      requestCert: requiresClient,
      // What the verification says is looked at below, where a reason can be told.
      rejectUnauthorized: false,
    });
    this.#socket = socket;
    socket.on("error", this.#failed);
    socket.on("_tlsError", this.#failed);
    socket.on("close", this.#closed);
    socket.on("secure", () => {
      if (this.#ended) return;
      const verdict = requiresClient ? this.#judge(socket) : null;
      if (typeof verdict === "string") this.end(verdict);
      else {
        this.#finish();
        accept(socket, verdict);
      }
    });
  }

  /** The connection ends here, unless its handshake is over. */
  end(reason: string): void {
    if (this.#ended) return;
    this.#finish();
    this.#raw.on("error", () => {});
    this.#socket?.on("error", () => {});
    this.#socket?.destroy();
    this.#raw.destroy();
    this.#tls.refused(reason, this.#remoteAddress);
  }

  /** Who the client has proven to be, or why it is not let in. */
  #judge(socket: TLSSocket): PeerIdentity | string {
    const verified = (socket as TLSSocket & { _handle: { verifyError(): Error | null } | null })._handle?.verifyError();
    const chain = chainOf(socket.getPeerCertificate(true));
    const [client] = chain;
    if (client === undefined) return "the client did not provide a certificate";
    // Undefined: the connection is gone. Only a null says that the chain was verified.
    if (verified !== null) return `the client's certificate: ${verified?.message ?? "not verified"}`;
    if (socket.isSessionReused()) return "a session was resumed, in which the client's certificate is not seen again";
    const reason = this.#tls.admit(chain);
    return reason ?? { commonName: commonNameOf(client) };
  }

  #finish(): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    for (const socket of [this.#raw, this.#socket]) {
      socket?.off("error", this.#failed);
      socket?.off("_tlsError", this.#failed);
      socket?.off("close", this.#closed);
    }
    this.#over();
  }
}

function contextOf(material: TlsMaterial): SecureContext {
  const { certificate, key, clientAuthorities, minVersion, maxVersion, ciphers } = material;
  return createSecureContext({
    cert: certificate,
    key,
    ...(Buffer.isBuffer(clientAuthorities) ? { ca: clientAuthorities } : {}),
    minVersion,
    maxVersion,
    ciphers,
    honorCipherOrder: true,
    // No sessions to be resumed: revocation, allowed names and new files hold for each connection.
    secureOptions: constants.SSL_OP_NO_TICKET,
  });
}

/** The certificate that the client sent, its issuer's, and so on. */
function chainOf(first: DetailedPeerCertificate | undefined): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let one: DetailedPeerCertificate | undefined = first;
  while (one?.raw !== undefined && chain.length < CHAIN_MAX) {
    chain.push(new X509Certificate(one.raw));
    if (one.issuerCertificate === one) break;
    one = one.issuerCertificate;
  }
  return chain;
}

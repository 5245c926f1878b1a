import {
  create,
  type DescMessage,
  type DescMethod,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  ChannelCredentials,
  Client,
  type ClientDuplexStream,
  logVerbosity,
  Metadata,
  type ServiceError,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import { Auth } from "../gen/etcdserverpb/rpc_pb.ts";
import { CommandError, Unreachable } from "./errors.ts";

export interface ClientOptions {
  endpoints: readonly string[];
  /** How an endpoint is spoken to; left out: plainly. */
  credentials?: (endpoint: string) => ChannelCredentials;
  dialTimeoutMs: number;
  commandTimeoutMs: number;
  /** The branch that calls are for; left out: the server's choice, by the endpoint's host. */
  branch?: string;
  /** Whom to log in as. */
  login?: { name: string; password: string };
}

type Method<I extends DescMessage, O extends DescMessage> = DescMethod & { input: I; output: O };

// What goes wrong is told by the command, in one line; GRPC_TRACE shows the library's own.
if (process.env["GRPC_TRACE"] === undefined) setLogVerbosity(logVerbosity.NONE);

const MESSAGE_BYTES_MAX = 0x7fffffff;

/**
 * Calls a server of etcd's API. Endpoints are tried in order until one can be reached; a call that was sent is never
 * sent again.
 */
export class EtcdClient {
  readonly #options: ClientOptions;
  readonly #metadata = new Metadata();
  #connected: Promise<Connection> | null = null;

  constructor(options: ClientOptions) {
    this.#options = options;
    if (options.branch !== undefined) this.#metadata.set("t4-branch", options.branch);
  }

  /** Asked for by name. */
  get branch(): string | undefined {
    return this.#options.branch;
  }

  /** `timeoutMs`: for a call that takes longer than others. */
  async unary<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    init: MessageInitShape<I>,
    timeoutMs?: number,
  ): Promise<MessageShape<O>> {
    return this.#unary(await this.#connect(), method, init, timeoutMs);
  }

  /**
   * A call of the repository's service, which needs what is asked of each of the branches named: logs in on each, and
   * shows the tokens. Where there is nobody to log in as, they are not asked.
   */
  async repository<I extends DescMessage, O extends DescMessage>(
    branches: readonly string[],
    method: Method<I, O>,
    init: MessageInitShape<I>,
    timeoutMs?: number,
  ): Promise<MessageShape<O>> {
    const { client } = await this.#connect();
    return this.#unary({ client, metadata: await this.#tokens(client, branches) }, method, init, timeoutMs);
  }

  /** The same with a stream of answers, without a deadline. */
  async *repositoryStream<I extends DescMessage, O extends DescMessage>(
    branches: readonly string[],
    method: Method<I, O>,
    init: MessageInitShape<I>,
  ): AsyncGenerator<MessageShape<O>> {
    const { client } = await this.#connect();
    const call = client.makeServerStreamRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      create(method.input, init),
      await this.#tokens(client, branches),
    );
    try {
      for await (const message of call) yield message as MessageShape<O>;
    } catch (error) {
      throw commandError(error as ServiceError);
    } finally {
      call.cancel();
    }
  }

  async #tokens(client: Client, branches: readonly string[]): Promise<Metadata> {
    const metadata = new Metadata();
    const { login } = this.#options;
    if (login === undefined) return metadata;
    for (const branch of new Set([...branches, "main"])) {
      const asked = new Metadata();
      asked.set("t4-branch", branch);
      try {
        const { token } = await this.#unary({ client, metadata: asked }, Auth.method.authenticate, login);
        metadata.set(`t4-token-${branch}`, token);
      } catch (error) {
        if (!(error instanceof CommandError) || error.message !== AUTH_IS_OFF) throw error;
      }
    }
    return metadata;
  }

  /** The same client of other servers; to be closed by itself, where it is used for more than `unaryOnEach`. */
  at(endpoints: readonly string[]): EtcdClient {
    return new EtcdClient({ ...this.#options, endpoints });
  }

  /** The same call on each endpoint by itself. */
  async unaryOnEach<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    init: MessageInitShape<I>,
  ): Promise<{ endpoint: string; answer: MessageShape<O> | CommandError }[]> {
    return Promise.all(
      this.#options.endpoints.map(async (endpoint) => {
        const client = this.#dial(endpoint);
        try {
          await ready(client, this.#options.dialTimeoutMs);
          return { endpoint, answer: await this.#unary(await this.#login(client), method, init) };
        } catch (error) {
          return { endpoint, answer: error instanceof CommandError ? error : new Unreachable([endpoint]) };
        } finally {
          client.close();
        }
      }),
    );
  }

  /** Opens a stream in both directions, without a deadline. */
  async stream<I extends DescMessage, O extends DescMessage>(method: Method<I, O>): Promise<EtcdStream<I, O>> {
    const { client, metadata } = await this.#connect();
    const call = client.makeBidiStreamRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      metadata,
    );
    return new EtcdStream(method, call);
  }

  #unary<I extends DescMessage, O extends DescMessage>(
    { client, metadata }: Connection,
    method: Method<I, O>,
    init: MessageInitShape<I>,
    timeoutMs = this.#options.commandTimeoutMs,
  ): Promise<MessageShape<O>> {
    return unaryCall(client, method, init, { timeoutMs, metadata });
  }

  /** A server whose authentication is off is used without, as etcd's clients do. */
  async #login(client: Client): Promise<Connection> {
    const { login } = this.#options;
    const metadata = this.#metadata;
    if (login === undefined) return { client, metadata };
    try {
      const { token } = await this.#unary({ client, metadata }, Auth.method.authenticate, login);
      const shown = metadata.clone();
      shown.set("token", token);
      return { client, metadata: shown };
    } catch (error) {
      if (error instanceof CommandError && error.message === AUTH_IS_OFF) return { client, metadata };
      throw error;
    }
  }

  #dial(endpoint: string): Client {
    const { credentials } = this.#options;
    return dial(endpoint, credentials === undefined ? ChannelCredentials.createInsecure() : credentials(endpoint));
  }

  #connect(): Promise<Connection> {
    this.#connected ??= this.#dialFirst();
    return this.#connected;
  }

  async #dialFirst(): Promise<Connection> {
    for (const endpoint of this.#options.endpoints) {
      const client = this.#dial(endpoint);
      try {
        await ready(client, this.#options.dialTimeoutMs);
      } catch {
        client.close();
        continue;
      }
      return this.#login(client).catch((error: unknown) => {
        client.close();
        throw error;
      });
    }
    throw new Unreachable(this.#options.endpoints);
  }

  async close(): Promise<void> {
    // Only waits for a dial that is bounded by its own timeout; a failed one was reported to who asked for it.
    await this.#connected?.then(
      ({ client }) => client.close(),
      () => {},
    );
  }
}

interface Connection {
  readonly client: Client;
  /** Of each of its calls. */
  readonly metadata: Metadata;
}

const AUTH_IS_OFF = "etcdserver: authentication is not enabled";

export class EtcdStream<I extends DescMessage, O extends DescMessage> {
  readonly #method: Method<I, O>;
  readonly #call: ClientDuplexStream<MessageShape<I>, MessageShape<O>>;

  constructor(method: Method<I, O>, call: ClientDuplexStream<MessageShape<I>, MessageShape<O>>) {
    this.#method = method;
    this.#call = call;
  }

  send(init: MessageInitShape<I>): void {
    this.#call.write(create(this.#method.input, init));
  }

  /** Messages until the server ends the stream; throws CommandError when it fails, ends quietly after `cancel`. */
  async *messages(): AsyncGenerator<MessageShape<O>> {
    try {
      for await (const message of this.#call) yield message as MessageShape<O>;
    } catch (error) {
      if ((error as ServiceError).code === status.CANCELLED) return;
      throw commandError(error as ServiceError);
    }
  }

  /** Nothing more is sent. */
  finish(): void {
    this.#call.end();
  }

  cancel(): void {
    this.#call.cancel();
  }
}

function dial(endpoint: string, credentials: ChannelCredentials): Client {
  const isSocket = /^unixs?:\/\//.test(endpoint);
  const host = endpoint.replace(/^https?:\/\//, "");
  // RFC 6761: names below localhost mean this machine; not every resolver knows.
  const loopback = host.replace(/^[^/:]*\.localhost\.?(?=:|$)/i, "127.0.0.1");
  const target = isSocket ? endpoint.replace(/^unixs?:\/\//, "unix:") : loopback;
  return new Client(target, credentials, {
    "grpc.max_receive_message_length": MESSAGE_BYTES_MAX,
    "grpc.max_send_message_length": MESSAGE_BYTES_MAX,
    // As Go's clients: a proxy of the environment is for other machines.
    "grpc.enable_http_proxy": /^(unix:|localhost:|127\.|\[::1\])/.test(target) ? 0 : 1,
    ...(target === loopback && loopback !== host ? { "grpc.default_authority": host } : {}),
    ...(isSocket ? { "grpc.default_authority": "localhost", "grpc.ssl_target_name_override": "localhost" } : {}),
  });
}

const ready = (client: Client, timeoutMs: number): Promise<void> =>
  new Promise((resolve, reject) => {
    client.waitForReady(Date.now() + timeoutMs, (error) => (error ? reject(error) : resolve()));
  });

const pathOf = (method: DescMethod): string => `/${method.parent.typeName}/${method.name}`;

function unaryCall<I extends DescMessage, O extends DescMessage>(
  client: Client,
  method: Method<I, O>,
  init: MessageInitShape<I>,
  { timeoutMs, metadata }: { timeoutMs: number; metadata: Metadata },
): Promise<MessageShape<O>> {
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      pathOf(method),
      (message: MessageShape<I>) => Buffer.from(toBinary(method.input, message)),
      (bytes: Buffer) => fromBinary(method.output, bytes),
      create(method.input, init),
      metadata,
      { deadline: Date.now() + timeoutMs },
      (error, answer) => (error ? reject(commandError(error)) : resolve(answer!)),
    );
  });
}

function commandError(error: ServiceError): CommandError {
  if (error.code === status.DEADLINE_EXCEEDED && /^Deadline exceeded/.test(error.details)) {
    return new CommandError("no answer within --command-timeout; a write may or may not have been carried out");
  }
  return new CommandError(error.details === "" ? `gRPC status ${error.code}` : error.details);
}

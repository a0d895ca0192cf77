import * as v from "valibot";

/** One message of the DevTools protocol: an answer to a command, or an event. */
const Message = v.object({
  id: v.optional(v.number()),
  method: v.optional(v.string()),
  params: v.optional(v.unknown()),
  result: v.optional(v.unknown()),
  error: v.optional(v.object({ message: v.string() })),
  sessionId: v.optional(v.string()),
});

interface Waiting {
  readonly what: string;
  resolve(result: unknown): void;
  reject(error: Error): void;
}

export type EventListener = (method: string, params: unknown, sessionId: string | undefined) => void;

/** A connection to a browser, by the DevTools protocol. */
export class DevTools {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, Waiting>();
  #next = 1;

  private constructor(socket: WebSocket, onEvent: EventListener) {
    this.#socket = socket;
    socket.addEventListener("message", ({ data }) => this.#onMessage(String(data), onEvent));
    socket.addEventListener("close", () => {
      for (const { what, reject } of this.#waiting.values()) reject(new Error(`${what}: the browser has gone`));
      this.#waiting.clear();
    });
  }

  static async connect(url: string, onEvent: EventListener): Promise<DevTools> {
    const socket = new WebSocket(url);
    const tools = new DevTools(socket, onEvent);
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    socket.addEventListener("open", () => resolve());
    socket.addEventListener("error", () => reject(new Error(`no connection to the browser at ${url}`)));
    await promise;
    return tools;
  }

  #onMessage(text: string, onEvent: EventListener): void {
    const { id, method, params, result, error, sessionId } = v.parse(Message, JSON.parse(text));
    if (id === undefined) {
      if (method !== undefined) onEvent(method, params, sessionId);
      return;
    }
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    if (error === undefined) waiting?.resolve(result);
    else waiting?.reject(new Error(`${waiting.what}: ${error.message}`));
  }

  /** Runs a command. @throws Error with what the browser says is wrong */
  send<S extends v.GenericSchema>(
    schema: S,
    method: string,
    params: object = {},
    sessionId?: string,
  ): Promise<v.InferOutput<S>> {
    const id = this.#next++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    this.#waiting.set(id, { what: method, resolve, reject });
    this.#socket.send(JSON.stringify({ id, method, params, ...(sessionId === undefined ? {} : { sessionId }) }));
    return promise.then((result) => v.parse(schema, result));
  }

  close(): void {
    this.#socket.close();
  }
}

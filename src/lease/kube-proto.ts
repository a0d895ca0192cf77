/**
 * Reads what is needed of the API server's protobuf answers (k8s.io/apimachinery and k8s.io/api, generated.proto). A
 * Node's images and conditions, nine tenths of it, are stepped over instead of becoming objects.
 */

/** What is kept of a Node. */
export interface KubeNode {
  readonly name: string;
  readonly uid: string;
  readonly resourceVersion: string;
  /** milliseconds since the epoch */
  readonly createdAt: number;
  /** those that were asked for and are there */
  readonly annotations: Readonly<Record<string, string>>;
  /** empty while none are assigned, and where only the metadata was asked for */
  readonly podCIDRs: readonly string[];
}

export interface KubeStatus {
  readonly code: number;
  readonly reason: string;
  readonly message: string;
}

export interface NodeList {
  readonly resourceVersion: string;
  /** of the next page; empty after the last one */
  readonly continueToken: string;
  readonly nodes: readonly KubeNode[];
}

export interface WatchEvent {
  /** `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR` */
  readonly type: string;
  /** what it is about, in its envelope: PartialObjectMetadata, or a Status */
  readonly object: Uint8Array;
}

/** Of an answer that is cut off or no protobuf at all. */
export class MalformedError extends Error {
  override readonly name = "MalformedError";
}

const utf8 = new TextDecoder();
/** In front of every object in this encoding. */
const MAGIC = [0x6b, 0x38, 0x73, 0];

/** Goes through the fields of one message. */
class Fields {
  readonly #bytes: Uint8Array;
  #at = 0;
  /** of the field that `next` found */
  number = 0;
  #wire = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** Steps to the next field; its value must be read or skipped before the one after it. */
  next(): boolean {
    if (this.#at >= this.#bytes.length) return false;
    const tag = this.varint();
    this.number = Math.floor(tag / 8);
    this.#wire = tag % 8;
    return true;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.#bytes[this.#at++];
      if (byte === undefined || scale > 2 ** 63) throw new MalformedError("a number in it is cut off");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  /** The bytes of a text or a nested message, not copied. */
  bytes(): Uint8Array {
    if (this.#wire !== 2) throw new MalformedError(`field ${this.number} has the wire type ${this.#wire}, not 2`);
    const length = this.varint();
    const start = this.#at;
    this.#at += length;
    if (this.#at > this.#bytes.length) throw new MalformedError("it is cut off");
    return this.#bytes.subarray(start, this.#at);
  }

  text(): string {
    return utf8.decode(this.bytes());
  }

  skip(): void {
    if (this.#wire === 0) this.varint();
    else if (this.#wire === 2) this.bytes();
    else if (this.#wire === 1) this.#at += 8;
    else if (this.#wire === 5) this.#at += 4;
    else throw new MalformedError(`it has the wire type ${this.#wire}`);
  }
}

/** Whether these bytes are an object in this encoding. */
export function isProtobuf(bytes: Uint8Array): boolean {
  return MAGIC.every((byte, i) => bytes[i] === byte);
}

/** Takes an object out of its envelope (runtime.Unknown). */
function unwrap(bytes: Uint8Array): Uint8Array {
  if (!isProtobuf(bytes)) throw new MalformedError("it is not in Kubernetes' protobuf encoding");
  const fields = new Fields(bytes.subarray(MAGIC.length));
  while (fields.next()) {
    if (fields.number === 2) return fields.bytes();
    fields.skip();
  }
  return new Uint8Array();
}

/** @param wanted the annotations to keep */
export function decodeNodeList(bytes: Uint8Array, wanted: ReadonlySet<string>): NodeList {
  let resourceVersion = "";
  let continueToken = "";
  const nodes: KubeNode[] = [];
  const fields = new Fields(unwrap(bytes));
  while (fields.next()) {
    if (fields.number === 1) {
      const meta = new Fields(fields.bytes());
      while (meta.next()) {
        if (meta.number === 2) resourceVersion = meta.text();
        else if (meta.number === 3) continueToken = meta.text();
        else meta.skip();
      }
    } else if (fields.number === 2) nodes.push(readNode(fields.bytes(), wanted));
    else fields.skip();
  }
  return { resourceVersion, continueToken, nodes };
}

/** A Node, or its PartialObjectMetadata, whose only field is the same one. */
export function decodeNode(bytes: Uint8Array, wanted: ReadonlySet<string>): KubeNode {
  return readNode(unwrap(bytes), wanted);
}

function readNode(bytes: Uint8Array, wanted: ReadonlySet<string>): KubeNode {
  const node = {
    name: "",
    uid: "",
    resourceVersion: "",
    createdAt: 0,
    annotations: {},
    podCIDRs: [] as readonly string[],
  };
  const fields = new Fields(bytes);
  while (fields.next()) {
    if (fields.number === 1) Object.assign(node, readMetadata(fields.bytes(), wanted));
    else if (fields.number === 2) node.podCIDRs = readPodCIDRs(fields.bytes());
    else fields.skip();
  }
  return node;
}

function readMetadata(bytes: Uint8Array, wanted: ReadonlySet<string>): Omit<KubeNode, "podCIDRs"> {
  const node = { name: "", uid: "", resourceVersion: "", createdAt: 0, annotations: {} as Record<string, string> };
  const fields = new Fields(bytes);
  while (fields.next()) {
    switch (fields.number) {
      case 1:
        node.name = fields.text();
        break;
      case 5:
        node.uid = fields.text();
        break;
      case 6:
        node.resourceVersion = fields.text();
        break;
      case 8:
        node.createdAt = readSeconds(fields.bytes()) * 1000;
        break;
      case 12:
        readAnnotation(fields.bytes(), wanted, node.annotations);
        break;
      default:
        fields.skip();
    }
  }
  return node;
}

function readSeconds(bytes: Uint8Array): number {
  const fields = new Fields(bytes);
  while (fields.next()) {
    if (fields.number === 1) return fields.varint();
    fields.skip();
  }
  return 0;
}

function readAnnotation(bytes: Uint8Array, wanted: ReadonlySet<string>, into: Record<string, string>): void {
  let key = "";
  let value: Uint8Array = new Uint8Array();
  const fields = new Fields(bytes);
  while (fields.next()) {
    if (fields.number === 1) key = fields.text();
    else if (fields.number === 2) value = fields.bytes();
    else fields.skip();
  }
  if (wanted.has(key)) into[key] = utf8.decode(value);
}

/** `podCIDRs`, or `podCIDR` where an old server has only that. */
function readPodCIDRs(bytes: Uint8Array): readonly string[] {
  let first = "";
  const all: string[] = [];
  const fields = new Fields(bytes);
  while (fields.next()) {
    if (fields.number === 1) first = fields.text();
    else if (fields.number === 7) all.push(fields.text());
    else fields.skip();
  }
  return all.length === 0 && first !== "" ? [first] : all;
}

/** One frame of a watch, which has no envelope of its own. */
export function decodeWatchEvent(frame: Uint8Array): WatchEvent {
  let type = "";
  let object: Uint8Array = new Uint8Array();
  const fields = new Fields(frame);
  while (fields.next()) {
    if (fields.number === 1) type = fields.text();
    else if (fields.number === 2) {
      const extension = new Fields(fields.bytes());
      while (extension.next()) {
        if (extension.number === 1) object = extension.bytes();
        else extension.skip();
      }
    } else fields.skip();
  }
  return { type, object };
}

export function decodeStatus(bytes: Uint8Array): KubeStatus {
  const status = { code: 0, reason: "", message: "" };
  const fields = new Fields(unwrap(bytes));
  while (fields.next()) {
    if (fields.number === 3) status.message = fields.text();
    else if (fields.number === 4) status.reason = fields.text();
    else if (fields.number === 6) status.code = fields.varint();
    else fields.skip();
  }
  return status;
}

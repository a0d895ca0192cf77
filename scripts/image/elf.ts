// What an ELF file asks of the system that runs it. System V ABI, chapters 4 and 5: 64 bits, little-endian.

const MACHINES = { 62: "x86-64", 183: "AArch64" } as const;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const PT_LOAD = 1;
const DT_NULL = 0;
const DT_NEEDED = 1;
const DT_STRTAB = 5;

export type ElfMachine = (typeof MACHINES)[keyof typeof MACHINES];

export interface Elf {
  readonly machine: ElfMachine;
  /** path of the dynamic loader, of a program */
  readonly interpreter?: string;
  /** names of shared libraries, as in `libc.so.6` */
  readonly needed: readonly string[];
}

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  /** bytes in the file */
  readonly size: number;
}

export function isElf(bytes: Uint8Array): boolean {
  return bytes.length > 64 && bytes[0] === 0x7f && bytes[1] === 0x45 && bytes[2] === 0x4c && bytes[3] === 0x46;
}

/** @throws Error if it is none for a machine that there are images for */
export function readElf(bytes: Uint8Array): Elf {
  if (!isElf(bytes)) throw new Error("this is not an ELF file");
  const [, , , , bits, order] = bytes;
  if (bits !== 2 || order !== 1) throw new Error("this ELF file is not of 64 bits, little-endian");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const code = view.getUint16(18, true);
  const machine = Object.entries(MACHINES).find(([number]) => Number(number) === code)?.[1];
  if (machine === undefined) throw new Error(`this ELF file is for another machine, number ${code}`);
  const segments = segmentsOf(view);
  const interpreter = segments.find(({ type }) => type === PT_INTERP);
  return {
    machine,
    ...(interpreter === undefined ? {} : { interpreter: textAt(bytes, interpreter.offset) }),
    needed: neededBy(bytes, view, segments),
  };
}

function segmentsOf(view: DataView): Segment[] {
  const start = wordAt(view, 32);
  const size = view.getUint16(54, true);
  return Array.from({ length: view.getUint16(56, true) }, (_, index) => {
    const at = start + index * size;
    return {
      type: view.getUint32(at, true),
      offset: wordAt(view, at + 8),
      address: wordAt(view, at + 16),
      size: wordAt(view, at + 32),
    };
  });
}

function neededBy(bytes: Uint8Array, view: DataView, segments: readonly Segment[]): string[] {
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  if (dynamic === undefined) return [];
  const names: number[] = [];
  let strings: number | undefined;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.size; at += 16) {
    const tag = wordAt(view, at);
    if (tag === DT_NULL) break;
    if (tag === DT_NEEDED) names.push(wordAt(view, at + 8));
    if (tag === DT_STRTAB) strings = wordAt(view, at + 8);
  }
  if (names.length === 0) return [];
  const table = offsetOf(strings ?? 0, segments);
  return names.map((name) => textAt(bytes, table + name));
}

/** Where in the file the byte is that is loaded to `address`. */
function offsetOf(address: number, segments: readonly Segment[]): number {
  const holds = ({ type, address: start, size }: Segment) =>
    type === PT_LOAD && address >= start && address < start + size;
  const segment = segments.find(holds);
  if (segment === undefined) throw new Error("this ELF file has no table of strings");
  return address - segment.address + segment.offset;
}

function wordAt(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function textAt(bytes: Uint8Array, start: number): string {
  return new TextDecoder().decode(bytes.subarray(start, bytes.indexOf(0, start)));
}

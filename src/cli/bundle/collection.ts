import { describeError } from "../../base/errors.ts";
import { redact } from "./redact.ts";

/** One file of the bundle. */
interface Part {
  readonly text: string;
  /** where it is from, in words */
  readonly what: string;
  /** places where a secret was taken out */
  readonly hidden: number;
}

interface Missing {
  readonly path: string;
  readonly what: string;
  readonly why: string;
}

/** What is gathered for a bundle: secrets are taken out on the way in, and what can't be had is noted with its reason. */
export class Collection {
  readonly #parts = new Map<string, Part>();
  readonly #missing: Missing[] = [];
  readonly #say: (text: string) => void;

  /** @param say told of each part that is taken */
  constructor(say: (text: string) => void) {
    this.#say = say;
  }

  /** Takes a text, or JSON of anything else. What fails does not keep the others from coming. */
  async take(path: string, what: string, get: () => unknown): Promise<void> {
    this.#say(what);
    try {
      const value = await get();
      if (value === undefined) return this.#lacks({ path, what, why: "there is none" });
      const { text, hidden } = redact(typeof value === "string" ? value : `${JSON.stringify(value, null, 2)}\n`);
      this.#parts.set(path, { text, what, hidden });
    } catch (error) {
      // A message may quote what it is about.
      this.#lacks({ path, what, why: redact(describeError(error)).text });
    }
  }

  #lacks(missing: Missing): void {
    this.#missing.push(missing);
  }

  /** What is in it and what is not. */
  manifest(about: object): object {
    return {
      ...about,
      files: [...this.#parts].map(([path, { text, what, hidden }]) => {
        return { path, what, bytes: Buffer.byteLength(text), secretsTakenOut: hidden };
      }),
      missing: this.#missing,
    };
  }

  /** A tar archive, compressed, with the manifest first and everything in one folder. */
  async archive(folder: string, about: object): Promise<Uint8Array> {
    const manifest = `${JSON.stringify(this.manifest(about), null, 2)}\n`;
    const files: Record<string, string> = { [`${folder}/manifest.json`]: manifest };
    for (const [path, { text }] of this.#parts) files[`${folder}/${path}`] = text;
    const archive = new Bun.Archive(files, { compress: "gzip" });
    return await archive.bytes();
  }
}

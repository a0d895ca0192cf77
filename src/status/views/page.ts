import { LIMIT_DEFAULT } from "../../api/queries.ts";
import { linkTo, type Question } from "../question.ts";
import { breathe } from "../slices.ts";

export interface Page<T> {
  readonly items: T[];
  readonly total: number;
  readonly offset: number;
  readonly next: string | null;
}

/** Items that are passed over, or shown, in one go. */
const SCANNED = 5000;
const SHOWN = 500;

/** The page of a list that was asked for: only its items are made into what is shown. */
export async function pageOf<T, U>(all: Iterable<T>, question: Question, view: (item: T) => U): Promise<Page<U>> {
  const { offset = 0, limit = LIMIT_DEFAULT } = question.query;
  const end = offset + limit;
  const items: U[] = [];
  let total = 0;
  for (const item of all) {
    if (total >= offset && total < end) {
      items.push(view(item));
      if (items.length % SHOWN === 0) await breathe();
    }
    if (++total % SCANNED === 0) await breathe();
  }
  return { items, total, offset, next: total > end ? linkTo(question, end) : null };
}

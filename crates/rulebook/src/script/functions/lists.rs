//! Lists and maps: Rhai's own functions. What brings forth new lists is charged by size (see `cost`).

use super::{Family, Function, no_check, nothing};

pub(super) const FAMILY: Family =
    Family { title: "Lists and maps", functions: &FUNCTIONS, register: nothing, check: no_check };

const FUNCTIONS: [Function; 12] = [
    Function {
        name: "filter",
        signature: "filter(list, |item| bool) -> list",
        meaning: "The items for which it holds.",
        example: "[1, 5, 9].filter(|x| x > 3).len() == 2",
    },
    Function {
        name: "map",
        signature: "map(list, |item| any) -> list",
        meaning: "What becomes of each item.",
        example: "[1, 2].map(|x| x * 10).contains(20)",
    },
    Function {
        name: "some",
        signature: "some(list, |item| bool) -> bool",
        meaning: "Whether it holds for an item.",
        example: "[1, 5].some(|x| x > 3)",
    },
    Function {
        name: "all",
        signature: "all(list, |item| bool) -> bool",
        meaning: "Whether it holds for every item.",
        example: "[4, 5].all(|x| x > 3)",
    },
    Function {
        name: "find",
        signature: "find(list, |item| bool) -> any",
        meaning: "The first item for which it holds; missing where there is none.",
        example: "[1, 5, 9].find(|x| x > 3) == 5",
    },
    Function {
        name: "reduce",
        signature: "reduce(list, |so_far, item| any, any) -> any",
        meaning: "All items taken into one value, from the last argument on.",
        example: "[1, 2, 3].reduce(|sum, x| sum + x, 0) == 6",
    },
    Function {
        name: "extract",
        signature: "extract(list, number, number) -> list",
        meaning: "So many items from a position, counted from 0.",
        example: "[1, 2, 3].extract(1, 2).len() == 2",
    },
    Function {
        name: "keys",
        signature: "keys(map) -> list",
        meaning: "The names in a map.",
        example: "#{a: 1}.keys().contains(\"a\")",
    },
    Function {
        name: "values",
        signature: "values(map) -> list",
        meaning: "The values in a map.",
        example: "#{a: 1}.values().contains(1)",
    },
    Function {
        name: "get",
        signature: "get(map, text) -> any",
        meaning: "The value under a name, or the item at a position; missing where there is none.",
        example: "#{a: 1}.get(\"a\") == 1 && [7].get(0) == 7",
    },
    Function {
        name: "range",
        signature: "range(number, number) -> range",
        meaning: "The whole numbers from the first to before the second.",
        example: "range(1, 5).contains(4)",
    },
    Function {
        name: "curry",
        signature: "curry(function, any) -> function",
        meaning: "Rhai makes it of a closure that reads a name from outside; nobody writes it.",
        example: "Fn(\"min\").curry(1).call(2) == 1",
    },
];

// llama.cpp's mixtures of types; the record is in formats/, since plans size files by it too.
export { RECIPES, type Recipe, recipeFormat, usesMoreBits } from '../formats/recipes.ts'

"""Under which licence readers may use what certboard measured."""

SPDX = "CC-BY-4.0"
URL = "https://creativecommons.org/licenses/by/4.0/"
TITLE = "Creative Commons Attribution 4.0 International"
